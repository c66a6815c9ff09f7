// WebKitGTK, driven by classic WebDriver on a display that nobody sees.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { after } from "node:test";
import { Page } from "./page.mjs";
import { until } from "./until.mjs";

/** What a document is known by, and where it keeps what calls have given; no name that a page can meet. */
const SEEN = 'window[Symbol.for("of the tests")]';

/** Longer than anything that the driver is asked for takes. */
const PATIENCE_MS = 60_000;

/**
 * A script that meets its document's end gets no answer at times (1 of some 400 returns), and the next
 * one does: so one that is waited for is asked again well within a condition's patience. No script holds
 * its page for as long.
 */
const SCRIPT_PATIENCE_MS = 10_000;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Display and driver of this process; browsers come and go. */
let started;

async function start() {
  const display = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"], { stdio: ["ignore", "pipe", "ignore"] });
  const [number] = await once(display.stdout, "data");
  const port = await freePort();
  const driver = spawn("WebKitWebDriver", ["--host=127.0.0.1", `--port=${port}`], {
    stdio: "ignore",
    env: { ...process.env, DISPLAY: `:${`${number}`.trim()}`, GDK_BACKEND: "x11", NO_AT_BRIDGE: "1" },
  });
  const end = () => [driver, display].forEach((program) => program.kill());
  process.on("exit", end);
  const ask = async (method, path, body) => {
    // A driver that does not answer fails the story, by the name of what it was asked.
    const patience = path.includes("/execute/") ? SCRIPT_PATIENCE_MS : PATIENCE_MS;
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(patience) }).catch((error) => {
      throw new Error(`${method} ${path}: ${error}`);
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${path}: ${value.error} ${value.message}`);
    return value;
  };
  await until("the driver", () => ask("GET", "/status").catch(() => false));
  return { ask, end };
}

after(async () => (await started)?.end());

class WebKitPage extends Page {
  #calls = 0;

  constructor(session, handle) {
    super();
    Object.assign(this, { session, handle });
  }

  ask(method, path, body) {
    return this.session.ask(this.handle, method, path, body);
  }

  #script(script, how = "sync") {
    return this.ask("POST", "/execute/" + how, { script, args: [] });
  }

  /**
   * Begins it and asks for its end again and again, since the driver does one thing at a time. What has a
   * value at once gives it at once: its document may be about to go.
   */
  async run(source) {
    const call = ++this.#calls;
    let { text } = await this.#script(
      `const done = arguments[0];
       const seen = (${SEEN} ||= {});
       seen[${call}] = "";
       ${source}.then((text) => { seen[${call}] = text; });
       (async () => {
         for (let turn = 0; turn < 20 && !seen[${call}]; turn++) await null;
         done({ text: seen[${call}] });
       })();`,
      "async",
    );
    while (!text) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      text = await this.#script(`return ${SEEN}?.[${call}] ?? null;`);
      if (text === null) throw new Error("the page has gone, and the call with it");
    }
    return text;
  }

  perform(actions) {
    return this.ask("POST", "/actions", { actions });
  }

  /** Does what brings another document, and waits for that. */
  async #arrive(set) {
    await this.#script(`${SEEN} = { isOld: true };`);
    await set();
    await until("the next page", () => this.#script(`return !${SEEN}?.isOld && document.readyState == "complete";`).catch(() => false));
  }

  goto(url, { waitUntil } = {}) {
    const set = () => this.ask("POST", "/url", { url });
    return waitUntil == "commit" ? set() : this.#arrive(set);
  }

  reload() {
    return this.#arrive(() => this.ask("POST", "/refresh", {}));
  }

  close() {
    return this.ask("DELETE", "/window");
  }
}

/** The driver has one session at a time: what a story has left that failed ends before the next. */
let open;

export async function launchWebKit() {
  const { ask } = await (started ||= start());
  const end = async () => {
    const path = open;
    open = undefined;
    if (path) await ask("DELETE", path);
  };
  return {
    async newContext() {
      await end();
      // Navigations are waited for here: the driver, if it waits, does nothing else.
      const asked = { pageLoadStrategy: "none", "webkitgtk:browserOptions": { args: ["--automation"] } };
      const { sessionId } = await ask("POST", "/session", { capabilities: { alwaysMatch: asked } });
      const path = (open = `/session/${sessionId}`);
      let current;
      let last = Promise.resolve();
      const session = {
        /** One after the other, each in its window. */
        ask(handle, method, rest, body) {
          const next = last.then(async () => {
            if (current != handle) await ask("POST", path + "/window", { handle });
            current = handle;
            return ask(method, path + rest, body);
          });
          last = next.catch(() => {});
          return next;
        },
      };
      // The first window stays: with the last one the browser ends.
      const first = await ask("GET", path + "/window");
      return {
        async newPage() {
          const { handle } = await session.ask(first, "POST", "/window/new", { type: "window" });
          return new WebKitPage(session, handle);
        },
        close: end,
      };
    },
    close: end,
  };
}
