// Identifiers: random trace, span, session, tab and page ids, and the digest that names a request.

/** `bytes` random bytes as lower-case hex: 16 for traces and sessions, 8 for spans, tabs and pages. */
export const randomHex = (bytes: number): string =>
  [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => (byte + 256).toString(16).slice(1)).join("");

/**
 * Characters of a text that are hashed, at its head and at its tail. Bodies of one length that differ only
 * between are taken for the same; a larger number costs the page time with every large upload.
 */
const DIGEST_CHARS_MAX = 5_000;

/**
 * A digest of 32 bits (FNV-1a over characters). It keeps URLs and bodies out of storage, and is no
 * secret-keeper: among a page's two hundred keys one pair in 200,000 pages is taken for another.
 */
export function digest(text: string): string {
  let hash = ~text.length;
  for (const character of text.slice(0, DIGEST_CHARS_MAX) + text.slice(DIGEST_CHARS_MAX).slice(-DIGEST_CHARS_MAX)) hash = Math.imul(hash ^ character.codePointAt(0)!, 16777619);
  return (hash >>> 0).toString(36);
}
