// A canvas at the screen's resolution, drawn in the style sheet's colours.
//
// Invariant: no colour is written in a script; both themes live in style.css as tokens.

const TOKENS = ['paper', 'panel', 'band', 'ink', 'ink-2', 'ink-3', 'line', 'ok', 'failed', 'abandoned', 'retry',
  'other', 'user', 'browser', 'service', 'browser-fill', 'service-fill', 'focus'];

/** The theme's colours by token name. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(TOKENS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Calls `redraw` when the theme, the resolution or the size of `canvas` changes. */
export function whenItChanges(canvas, redraw) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  new ResizeObserver(redraw).observe(canvas);
}

/** Sizes the canvas to its box and answers `{context, width, height}` in CSS pixels, cleared. */
export function fit(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  const wide = Math.max(1, Math.round(width * scale));
  const high = Math.max(1, Math.round(height * scale));
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** A hatch of `colour`: what failed is told by texture too. */
export function hatch(context, colour) {
  const tile = document.createElement('canvas');
  // Six pixels: finer ones blur to a tone at resolution 1, wider ones miss the shortest bars.
  tile.width = 6;
  tile.height = 6;
  const pen = tile.getContext('2d');
  pen.strokeStyle = colour;
  pen.lineWidth = 1.6;
  for (const shift of [-6, 0, 6]) {
    pen.moveTo(shift - 1, 7);
    pen.lineTo(shift + 7, -1);
  }
  pen.stroke();
  return context.createPattern(tile, 'repeat');
}
