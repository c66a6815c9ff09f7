// The browser's storages, which may be denied, full, or written to by anybody.

import { quietly } from "./patch";

/** What is stored, or nothing. */
export const readJson = <T>(storage: Storage | undefined, key: string): T | undefined =>
  quietly(() => JSON.parse(storage!.getItem(key)!) || undefined);

/** Stores, and tells whether it did. When it did not, the copy in memory serves this document. */
export const writeJson = (storage: Storage | undefined, key: string, value: unknown): boolean | undefined =>
  quietly(() => (storage!.setItem(key, JSON.stringify(value)), true));

export const SESSION_KEY = "ethogram.session";
export const TAB_KEY = "ethogram.tab";

/** Forgets the visitor, whichever document has stored it; throws where there is no storage. */
export function forget(): void {
  localStorage.removeItem(SESSION_KEY);
  sessionStorage.removeItem(TAB_KEY);
}
