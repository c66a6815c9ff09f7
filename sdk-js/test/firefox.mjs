// Firefox, driven by WebDriver BiDi: playwright drives only a build of its own.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { WebSocket } from "ws";
import { Page } from "./page.mjs";

/** Beyond what Firefox sets by itself when it is driven. */
const PREFERENCES = {
  // Nothing but the tests' own servers is asked; addresses of this machine go by no proxy.
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1",
  "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1",
  "network.proxy.ssl_port": 9,
  // A process whose last page closes is ended, and on a busy machine in the midst of a script.
  "dom.abort_script_on_child_shutdown": false,
};

/** The browser's process, and the address at which it listens for us. */
async function start(directory) {
  await writeFile(join(directory, "user.js"), Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`).join(""));
  const browser = spawn(process.env.FIREFOX || "firefox-esr", ["--headless", "--no-remote", "--profile", directory, "--remote-debugging-port", "0", "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, HOME: directory },
  });
  // Where the tests end before they are over, the browser does as well.
  process.on("exit", () => browser.kill());
  const said = [];
  const address = await new Promise((resolve, reject) => {
    browser.on("error", reject);
    browser.on("exit", (code) => reject(new Error(`Firefox ended with ${code}: ${said.join("\n")}`)));
    // It is read to the end: a full pipe would stop the browser.
    createInterface({ input: browser.stderr }).on("line", (line) => {
      said.push(line);
      const [, found] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) || [];
      if (found) resolve(found);
    });
  });
  return { browser, address };
}

/** Commands with their answers, and events by the page they are of. */
async function connect(address) {
  const socket = new WebSocket(address + "/session", { maxPayload: 2 ** 30 });
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const asked = new Map();
  const hearers = new Set();
  let count = 0;
  socket.on("message", (text) => {
    const { type, id, result, error, message, method, params } = JSON.parse(text);
    if (type == "event") return hearers.forEach((hear) => hear(method, params));
    const { resolve, reject } = asked.get(id);
    asked.delete(id);
    if (type == "success") resolve(result);
    else reject(new Error(`${error}: ${message}`));
  });
  socket.on("close", () => asked.forEach(({ reject }) => reject(new Error("Firefox is gone"))));
  return {
    hearers,
    send: (method, params = {}) =>
      new Promise((resolve, reject) => {
        asked.set(++count, { resolve, reject });
        socket.send(JSON.stringify({ id: count, method, params }));
      }),
  };
}

class FirefoxPage extends Page {
  constructor({ send, hearers }, id) {
    super();
    Object.assign(this, { id, send, hearers });
  }

  async run(source) {
    const told = await this.send("script.evaluate", { expression: source, target: { context: this.id }, awaitPromise: true });
    if (told.type == "exception") throw new Error(told.exceptionDetails.text);
    return told.result.value;
  }

  perform(actions) {
    return this.send("input.performActions", { context: this.id, actions });
  }

  async goto(url, { waitUntil } = {}) {
    await this.send("browsingContext.navigate", { context: this.id, url, wait: waitUntil == "commit" ? "none" : "complete" });
  }

  async reload() {
    await this.send("browsingContext.reload", { context: this.id, wait: "complete" });
  }

  async close() {
    await this.send("browsingContext.close", { context: this.id });
  }

  /** `console`, or `pageerror`: what nobody caught. */
  on(what, hear) {
    this.hearers.add((method, { type, text, source }) => {
      if (method != "log.entryAdded" || source.context != this.id) return;
      if (type == "console" && what == "console") hear({ text: () => text });
      if (type == "javascript" && what == "pageerror") hear({ message: text });
    });
  }
}

/** The one browser of this process: its start takes longer than most stories. */
let started;

async function open() {
  const directory = await mkdtemp(join(tmpdir(), "ethogram-firefox-"));
  const { browser, address } = await start(directory);
  const connection = await connect(address);
  await connection.send("session.new", { capabilities: {} });
  await connection.send("session.subscribe", { events: ["log.entryAdded"] });
  return { browser, connection, directory };
}

after(async () => {
  if (!started) return;
  const { browser, connection, directory } = await started;
  const ended = new Promise((resolve) => browser.once("exit", resolve));
  await connection.send("browser.close");
  await ended;
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
});

/** As if it were a browser of its own: its contexts share nothing with others, and end with it. */
export async function launchFirefox() {
  const { connection } = await (started ||= open());
  const contexts = new Set();
  return {
    async newContext() {
      const { userContext } = await connection.send("browser.createUserContext");
      contexts.add(userContext);
      return {
        async newPage() {
          // A window, since a tab hides the one before it.
          const { context } = await connection.send("browsingContext.create", { type: "window", userContext });
          return new FirefoxPage(connection, context);
        },
        close: () => contexts.delete(userContext) && connection.send("browser.removeUserContext", { userContext }),
      };
    },
    async close() {
      for (const userContext of contexts) await connection.send("browser.removeUserContext", { userContext });
    },
  };
}
