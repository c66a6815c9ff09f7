// What the documentation tells people to paste does what it says there.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { bundleScript } from "./source.mjs";
import { createWorld, until } from "./world.mjs";

const text = await readFile(new URL("../docs/recipes.md", import.meta.url), "utf8");
const here = fileURLToPath(new URL("..", import.meta.url));

/** The snippet behind `<!-- test: name -->`. */
function snippet(name) {
  const found = new RegExp(`<!-- test: ${name} -->\\n\`\`\`jsx?\\n(.*?)\`\`\``, "s").exec(text);
  assert.ok(found, `docs/recipes.md has no snippet ${name}`);
  return found[1];
}

/** The snippets of HTML that follow a heading. */
const pages = (heading) => [...text.split(`## ${heading}\n`)[1].split("\n## ")[0].matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html);

/** The snippet as an application would bundle it, with `run` as what the application does. */
async function bundle(name, run, origin) {
  const contents = snippet(name).replaceAll("https://shop.example", origin ?? "") + `\nwindow.run = ${run};`;
  return bundleScript({ stdin: { contents, resolveDir: here, loader: "jsx" }, jsx: "automatic", alias: { ethogram: here + "dist/ethogram.mjs" }, plugins: [app] });
}

/** What the snippets import of the application's own: a route to push, and a button whose work fails. */
const APPS = {
  "./App": `
    import { useState, Component } from "react";
    import { createBrowserRouter, RouterProvider, Link } from "react-router";
    function Fails() { throw new TypeError("a view of React"); }
    class Boundary extends Component {
      static getDerivedStateFromError = () => ({ hasFailed: true });
      render() { return this.state?.hasFailed ? "sorry" : this.props.children; }
    }
    function View() {
      const [fails, fail] = useState(false);
      return <><Link id="route" to="/react/next">next</Link><button id="fail" onClick={() => fail(true)}>fail</button><Boundary>{fails && <Fails />}</Boundary></>;
    }
    const router = createBrowserRouter([{ path: "*", element: <View /> }]);
    export const App = () => <RouterProvider router={router} />;
  `,
  "./App.vue": `
    import { getCurrentInstance, h } from "vue";
    import { createRouter, createWebHistory } from "vue-router";
    export default {
      setup() {
        const router = createRouter({ history: createWebHistory(), routes: [{ path: "/:any(.*)*", component: {} }] });
        getCurrentInstance().appContext.app.use(router);
        const fail = () => { throw new TypeError("a view of Vue"); };
        return () => [h("a", { id: "route", onClick: () => router.push("/vue/next") }, "next"), h("button", { id: "fail", onClick: fail }, "fail")];
      },
    };
  `,
};

const app = {
  name: "app",
  setup(building) {
    building.onResolve({ filter: /^\.\/App/ }, ({ path }) => ({ path, namespace: "app" }));
    building.onLoad({ filter: /.*/, namespace: "app" }, ({ path }) => ({ contents: APPS[path], loader: "jsx", resolveDir: here }));
  },
};

/** A world whose server fails the first two requests to /api/item and /graphql; `html` are documents of its own. */
async function open(html = {}) {
  let count = 0;
  return createWorld({
    api(request, url, body, response) {
      const page = html[url.pathname];
      if (page) return response.writeHead(200, { "content-type": "text/html" }).end('<!doctype html><link rel="icon" href="data:,">' + page);
      if (!/^\/(api\/item|graphql)$/.test(url.pathname)) return false;
      return response.writeHead(++count > 2 ? 200 : 503, { "content-type": "application/json" }).end('{"data":{"item":"one"}}');
    },
  });
}

const RETRIES = [
  ["axios", '() => axios.get("/api/item")', "/api/item"],
  ["tanstack", "load", "/api/item"],
  ["apollo", "async () => { const { ApolloClient, InMemoryCache, gql } = await import('@apollo/client'); return new ApolloClient({ link, cache: new InMemoryCache() }).query({ query: gql`{ item }` }); }", "/graphql"],
  ["ky", `() => client.get("/api/item")`, "/api/item"],
  ["loop", '() => load("/api/item")', "/api/item"],
];

for (const [name, run, path] of RETRIES) {
  test(`${name}: three attempts of one request`, { timeout: 60_000 }, async () => {
    const world = await open();
    try {
      const page = await world.visit();
      await page.evaluate(await bundle(name, run));
      await page.evaluate(() => window.run().then(() => "done"));
      const spans = await until("three spans", () => world.spans(path).length == 3 && world.spans(path));
      spans.sort((one, other) => one["behavior.attempt"] - other["behavior.attempt"]);
      assert.deepEqual(spans.map((span) => [span["behavior.attempt"], span["behavior.attempt_kind"]]), [[1, "first"], [2, "retry"], [3, "retry"]]);
      assert.equal(new Set(spans.map((span) => span.traceId)).size, 1);
    } finally {
      await world.close();
    }
  });
}

for (const [name, root] of [["react", "root"], ["vue", "app"]]) {
  test(`${name}: routes and the errors of views are told`, { timeout: 60_000 }, async () => {
    const world = await open({ [`/${name}`]: `<div id="${root}"></div>` });
    try {
      const page = await world.visit(`/${name}`);
      await page.evaluate(await bundle(name, "true"));
      await page.click("#route");
      await until("the route", () => page.evaluate((path) => location.pathname == path, `/${name}/next`));
      await page.click("#fail");
      await page.close();
      const [exception] = await until("the error", () => world.events("exception").length && world.events("exception"));
      assert.match(exception["exception.message"], /^a view of (React|Vue)$/);
      const routes = world.events("browser.navigation").map((event) => [event["browser.navigation.type"], event["url.full"].replace(world.origin, "")]);
      assert.deepEqual(routes, [["navigate", `/${name}`], ["push", `/${name}/next`]]);
    } finally {
      await world.close();
    }
  });
}

test("what the user waits for is told", { timeout: 60_000 }, async () => {
  const world = await open();
  try {
    const page = await world.visit();
    await page.evaluate(await bundle("operation", "report"));
    await page.evaluate(() => window.run().then(() => "done"));
    const [ended] = await until("the end", () => world.events("behavior.operation").length && world.events("behavior.operation"));
    assert.deepEqual([ended["behavior.operation_name"], ended["behavior.outcome"]], ["report", "ok"]);
  } finally {
    await world.close();
  }
});

test("a module starts it", { timeout: 60_000 }, async () => {
  const world = await open({ "/bare": "" });
  try {
    const page = await world.visit("/bare");
    await page.evaluate(await bundle("module", '() => fetch("/fast")', world.origin));
    await page.evaluate(() => window.run().then(() => "done"));
    await page.close();
    const [span] = await until("the span", () => world.spans("/fast").length && world.spans("/fast"));
    assert.equal(span.resource["service.version"], "1.4.2");
  } finally {
    await world.close();
  }
});

test("a script tag starts it", { timeout: 60_000 }, async () => {
  const [plain] = pages("Plain page");
  const world = await open({ "/plain": plain });
  try {
    const page = await world.visit("/plain");
    await page.evaluate(() => fetch("/fast"));
    await page.close();
    await until("the span", () => world.spans("/fast").length == 1);
  } finally {
    await world.close();
  }
});

test("consent is asked for first", { timeout: 60_000 }, async () => {
  const [html] = pages("Consent");
  const world = await open({ "/consent": html });
  try {
    const page = await world.visit("/consent");
    await page.evaluate(await bundle("consent", "answered"));
    await page.evaluate(() => fetch("/before"));
    assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0);
    await page.evaluate(() => run(true));
    await page.evaluate(() => fetch("/fast"));
    await page.close();
    await until("the span", () => world.spans("/fast").length == 1);
    assert.equal(world.spans("/before").length, 0);
  } finally {
    await world.close();
  }
});
