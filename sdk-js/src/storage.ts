// The browser's storages, which may be denied, full, or written to by anybody.

import { quietly } from "./patch";

/** A storage, or none: merely looking at a denied one throws. */
export const openStorage = (name: "localStorage" | "sessionStorage"): Storage | undefined => quietly(() => window[name]);

/** What is stored, or nothing. */
export const readJson = <T>(storage: Storage | undefined, key: string): T | undefined =>
  quietly(() => JSON.parse(storage!.getItem(key)!) || undefined);

/** Stores, or without a value removes. When it fails, the copy in memory serves this document. */
export const writeJson = (storage: Storage | undefined, key: string, value: unknown): void =>
  quietly(() => (value ? storage!.setItem(key, JSON.stringify(value)) : storage!.removeItem(key)));
