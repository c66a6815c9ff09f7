// The page's clock. It is monotonic within a document, so a duration never comes from two clocks;
// that the whole clock may be wrong is corrected by the collector, from `behavior.sent_at`.

/** Milliseconds since the Unix epoch, with the fraction the browser grants. */
export const now = (): number => performance.timeOrigin + performance.now();
