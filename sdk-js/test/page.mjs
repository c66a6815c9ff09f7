// The part of playwright's pages that the tests use, for the browsers that playwright does not drive.
//
// A driver gives five things: `run(source)` evaluates an expression and awaits it, `perform(actions)`
// plays WebDriver's input actions, which its two protocols write alike, and there are `goto`, `reload`
// and `close`.
import { until } from "./until.mjs";

/** What JSON has no word for, and tests tell apart. */
const UNSPOKEN = new Map([undefined, NaN, Infinity, -Infinity].map((value) => [String(value), value]));

/** Runs in the page: the value of the call, or its error, as text. */
const tell = async (work) => {
  const speak = (key, value) =>
    value === undefined || (typeof value == "number" && !Number.isFinite(value)) ? { unspoken: String(value) } : value;
  try {
    return JSON.stringify({ value: await work() }, speak);
  } catch (error) {
    return JSON.stringify({ error: `${error}\n${error?.stack}` });
  }
};

const heard = (value) => {
  if (!value || typeof value != "object") return value;
  if (UNSPOKEN.has(value.unspoken)) return UNSPOKEN.get(value.unspoken);
  return Array.isArray(value) ? value.map(heard) : Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, heard(inner)]));
};

const pointer = (...actions) => ({ type: "pointer", id: "mouse", parameters: { pointerType: "mouse" }, actions });

/** Keys that are no characters, as WebDriver names them. */
const KEYS = { Backspace: "\uE003", Enter: "\uE007", Shift: "\uE008" };

export class Page {
  keyboard = { type: (text, options) => this.#type(text, options), press: (key) => this.#type([KEYS[key] || key]) };
  mouse = {
    click: (x, y) => this.#press(Math.round(x), Math.round(y)),
    wheel: (deltaX, deltaY) => this.perform([{ type: "wheel", id: "wheel", actions: [{ type: "scroll", x: 10, y: 10, deltaX, deltaY }] }]),
  };

  /** Calls `work` in the page, or runs a script's text there. */
  async evaluate(work, given) {
    const called = typeof work == "string" ? `() => { ${work}\n }` : `() => (${work})(${JSON.stringify(given)})`;
    const { value, error } = JSON.parse(await this.run(`(${tell})(${called})`));
    if (error) throw new Error(`in the page: ${error}`);
    return heard(value);
  }

  async click(selector, options) {
    const [x, y] = await until(selector, () =>
      this.evaluate((selector) => {
        const found = document.querySelector(selector);
        found?.scrollIntoView({ block: "nearest" });
        const { x, y, width, height } = found?.getBoundingClientRect() || {};
        return width && [Math.round(x + width / 2), Math.round(y + height / 2)];
      }, selector),
    );
    await this.#press(x, y, options);
  }

  async #press(x, y, { clickCount = 1, delay = 0 } = {}) {
    const press = [{ type: "pointerDown", button: 0 }, { type: "pause", duration: delay }, { type: "pointerUp", button: 0 }, { type: "pause", duration: delay }];
    await this.perform([pointer({ type: "pointerMove", x, y }, ...Array.from({ length: clickCount }, () => press).flat())]);
  }

  dblclick(selector, options) {
    return this.click(selector, { ...options, clickCount: 2 });
  }

  focus(selector) {
    return this.evaluate((selector) => document.querySelector(selector).focus(), selector);
  }

  /** Each key is an action of its own, so that what else is asked of the page is not held up. */
  async #type(text, { delay = 0 } = {}) {
    for (const value of text) {
      await this.perform([{ type: "key", id: "keyboard", actions: [{ type: "keyDown", value }, { type: "keyUp", value }, { type: "pause", duration: delay }] }]);
    }
  }

  waitForFunction(work, given) {
    return until(`${work}`, () => this.evaluate(work, given));
  }

  /** `**` at the beginning stands for anything, and nothing else does. */
  waitForURL(glob) {
    return until(glob, () =>
      this.evaluate((end) => document.readyState == "complete" && location.href.endsWith(end), glob.slice(2)).catch(() => false),
    );
  }

  waitForLoadState() {
    return until("the load", () => this.evaluate(() => document.readyState == "complete").catch(() => false));
  }
}
