// Identifiers: random trace, span, session, tab and page ids, and the digest that names a request.

/** Random numbers for some twenty requests: to ask the browser costs more than what it gives. */
const POOL = 256;
const pool = new Uint16Array(POOL);
let used = 0;

/** A number of 16 bits as four digits. */
export const hexOf = (number: number): string => (number + 65536).toString(16).slice(1);

/** `bytes` random bytes as lower-case hex: 16 for traces and sessions, 8 for spans, tabs and pages. */
export function randomHex(bytes: number): string {
  let hex = "";
  while (hex.length < bytes * 2) {
    // Before a number is taken: where the browser refuses, the next who asks must not get what was used.
    if (used % POOL == 0) crypto.getRandomValues(pool);
    hex += hexOf(pool[used++ % POOL]!);
  }
  return hex;
}

/**
 * Characters of a text that are hashed, at its head and at its tail. Bodies of one length that differ only
 * between are taken for the same; a larger number costs the page time with every large upload.
 */
const DIGEST_CHARS_MAX = 5_000;

/**
 * A digest of 32 bits (FNV-1a over UTF-16 units). It keeps URLs and bodies out of storage, and is no
 * secret-keeper: among a page's two hundred keys one pair in 200,000 pages is taken for another.
 */
export function digest(text: string): string {
  let hash = ~text.length;
  for (let place = 0; place < text.length; place++) {
    if (place == DIGEST_CHARS_MAX) place = Math.max(place, text.length - DIGEST_CHARS_MAX);
    hash = Math.imul(hash ^ text.charCodeAt(place), 16777619);
  }
  return (hash >>> 0).toString(36);
}
