// The document and its tab. The tab's record in sessionStorage carries over from one document to
// the next: who was before, and what was left unfinished there.

import type { Carried } from "./attempts";
import { randomHex } from "./ids";
import { readJson, TAB_KEY, writeJson } from "./storage";

interface TabRecord {
  tab: string;
  page: string;
  /** A document of this tab is alive. Found set by a new document, the record was copied. */
  open: boolean;
  /** Requests still waiting when the document left. */
  pending: number;
  keys: Carried[];
  /** Reloads in a row that led to the document. */
  reloads: number;
}

export interface Page {
  readonly id: string;
  readonly tab: string;
  /** navigate, reload or back_forward. */
  readonly arrival: string;
  /** The document before this one in the same tab. */
  readonly before: TabRecord | undefined;
  /** Reloads in a row, this one included: more than one is a loop. */
  readonly reloads: number;
  /** Next number in the order of the page's records. */
  sequence(): number;
  /** Notes whether the document lives, and when it leaves, what it leaves behind; that only where another tab has not erased it. */
  note(open: boolean, pending?: number, keys?: Carried[]): void;
}

/**
 * Opens the page. Duplicating a tab, or opening one from it, copies sessionStorage while the first
 * document still lives; such a copy gets a tab id of its own. After a crash the record is also
 * found open, and a reload tells that it is the same tab.
 *
 * A frame reads the tab's record and never writes it: the tab's story is that of its top document.
 */
export function openPage(storage: Storage | undefined, navigation: string, isTop: boolean): Page {
  const found = readJson<TabRecord>(storage, TAB_KEY);
  const before = found && isTop && (!found.open || navigation == "reload") ? found : undefined;
  const id = randomHex(8);
  const tab = before?.tab || (!isTop && found?.tab) || randomHex(8);
  const reloads = navigation == "reload" ? (before?.reloads || 0) + 1 : 0;
  let sequence = 0;
  const page: Page = {
    id,
    tab,
    arrival: navigation,
    before,
    reloads,
    sequence: () => sequence++,
    note: (open, pending = 0, keys = []) => {
      if (isTop && (open || readJson(storage, TAB_KEY))) writeJson(storage, TAB_KEY, { tab, page: id, open, pending, keys, reloads });
    },
  };
  page.note(true);
  return page;
}
