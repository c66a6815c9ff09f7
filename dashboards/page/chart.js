// The timeline one can move in: pointer, touch and keyboard around the painter.
//
// Invariants: the wheel alone scrolls the page, never the chart; a refresh moves neither the
// window nor the selection; everything a pointer reaches the keyboard reaches too.

import { arrange } from './lanes.js';
import { boxOf, heights, paint } from './painter.js';
import { colours, fit, whenItChanges } from './surface.js';

// The glyph of the first moment fits on the left even of a phone; the last span, and its name, never
// touch the right edge.
const PAD_LEFT = 0.03;
const PAD_RIGHT = 0.1;
// Closer than 2 ms there is nothing more to tell apart: durations are microseconds, offsets milliseconds.
const WINDOW_MS_MIN = 2;
// A press that moved less is a click.
const CLICK_PX_MAX = 4;

/** The canvas of one session. `onPoint(item|null)` and `onSelect(item|null)` tell what is meant. */
export class Chart {
  constructor(canvas, { onPoint, onSelect }) {
    this.canvas = canvas;
    this.onPoint = onPoint;
    this.onSelect = onSelect;
    this.pointers = new Map();
    this.forget();
    whenItChanges(canvas, () => this.draw());
    this.listen();
  }

  /** Empties the chart, for another session. */
  forget() {
    this.arranged = arrange([]);
    this.selected = null;
    this.pointed = null;
    this.moved = false;
  }

  /** Shows these rows, keeping window and selection where they are. */
  show(rows) {
    const selectedKey = this.selected?.key;
    this.arranged = arrange(rows);
    this.selected = this.arranged.items.find((item) => item.key === selectedKey) ?? null;
    this.pointed = null;
    if (!this.moved) this.fitAll();
    this.canvas.style.height = `${heights(this.arranged.tracks).height}px`;
    this.draw();
    return this.arranged.items;
  }

  /** Selects the item and brings it into the window. */
  select(item) {
    this.selected = item;
    if (item && (item.end < this.from || item.start > this.to)) this.centre((item.start + item.end) / 2);
    if (item) this.scrollTo(item);
    this.draw();
    this.onSelect(item);
  }

  /** Carries out a command of the toolbar: in, out, fit or selected. */
  command(name) {
    if (name === 'in') this.zoom(0.5, (this.from + this.to) / 2);
    if (name === 'out') this.zoom(2, (this.from + this.to) / 2);
    if (name === 'fit') this.fitAll();
    if (name === 'selected' && this.selected) this.zoomTo(this.selected);
    this.draw();
  }

  fitAll() {
    const { least, most } = this.reach();
    this.moved = false;
    [this.from, this.to] = [least, most];
  }

  /** The window on the item's whole trace, or on a second around a moment. */
  zoomTo(item) {
    const trace = item.row.trace_id;
    const { items, shadows } = this.arranged;
    const family = [...items, ...shadows].filter((other) => other === item || (trace && other.row.trace_id === trace && other.lane !== 'user'));
    const start = Math.min(...family.map((other) => other.start));
    const end = Math.max(...family.map((other) => other.end));
    const length = Math.max(end - start, item.isMoment ? 1000 : 1);
    this.setWindow(start - length * 0.1, end + length * 0.2);
  }

  setWindow(from, to) {
    const { least, most } = this.reach();
    const length = Math.min(Math.max(to - from, WINDOW_MS_MIN), most - least);
    const start = Math.min(Math.max(from, least), most - length);
    this.moved = true;
    [this.from, this.to] = [start, start + length];
  }

  /** The widest window: the whole session and its pads. */
  reach() {
    const { fromMs, toMs } = this.arranged;
    const length = Math.max(toMs - fromMs, WINDOW_MS_MIN);
    return { least: fromMs - PAD_LEFT * length, most: fromMs + (1 + PAD_RIGHT) * length };
  }

  zoom(by, around) {
    this.setWindow(around - (around - this.from) * by, around + (this.to - around) * by);
  }

  move(ms) {
    this.setWindow(this.from + ms, this.to + ms);
  }

  centre(ms) {
    const half = (this.to - this.from) / 2;
    this.setWindow(ms - half, ms + half);
  }

  scrollTo(item) {
    const stage = this.canvas.parentElement;
    const box = boxOf(item, this.view());
    if (box.y < stage.scrollTop || box.y + box.h > stage.scrollTop + stage.clientHeight) {
      stage.scrollTop = box.y - stage.clientHeight / 2;
    }
  }

  view() {
    const { tops, height } = heights(this.arranged.tracks);
    const width = this.canvas.clientWidth || 1;
    const perMs = width / (this.to - this.from);
    return { tops, height, width, from: this.from, to: this.to, xOf: (ms) => (ms - this.from) * perMs };
  }

  draw() {
    if (this.canvas.clientWidth === 0 || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      const surface = fit(this.canvas);
      paint(this.arranged, { ...this.view(), ...surface, colour: colours(), current: this.pointed ?? this.selected });
    });
  }

  timeAt(x) {
    return this.from + (x / this.canvas.clientWidth) * (this.to - this.from);
  }

  itemAt(x, y) {
    const view = this.view();
    // Painted last is on top; two pixels of grace for fingers.
    const hit = [...this.arranged.items, ...this.arranged.shadows].findLast((item) => {
      const box = boxOf(item, view);
      return x >= box.x - 2 && x <= box.x + box.w + 2 && y >= box.y - 2 && y <= box.y + box.h + 2;
    });
    return hit?.of ?? hit ?? null;
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.onDown(event));
    canvas.addEventListener('pointermove', (event) => this.onMove(event));
    canvas.addEventListener('pointerup', (event) => this.onUp(event));
    canvas.addEventListener('pointercancel', (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener('pointerleave', () => this.point(null));
    canvas.addEventListener('dblclick', () => this.command('selected'));
    canvas.addEventListener('keydown', (event) => this.onKey(event));
  }

  onWheel(event) {
    if (event.ctrlKey || event.metaKey) {
      this.zoom(Math.exp(event.deltaY * 0.004), this.timeAt(event.offsetX));
    } else {
      const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
      if (Math.abs(sideways) <= Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
      this.move((sideways / this.canvas.clientWidth) * (this.to - this.from));
    }
    event.preventDefault();
    this.draw();
  }

  onDown(event) {
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY, fromX: event.offsetX });
    this.canvas.setPointerCapture(event.pointerId);
  }

  onMove(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      this.point(this.itemAt(event.offsetX, event.offsetY));
      return;
    }
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
    if (others.length > 0) {
      const other = others[0][1];
      const before = Math.max(8, Math.abs(pointer.x - other.x));
      const after = Math.max(8, Math.abs(event.offsetX - other.x));
      this.zoom(before / after, this.timeAt((event.offsetX + other.x) / 2));
    } else {
      this.move(((pointer.x - event.offsetX) / this.canvas.clientWidth) * (this.to - this.from));
    }
    Object.assign(pointer, { x: event.offsetX, y: event.offsetY, far: pointer.far || Math.abs(event.offsetX - pointer.fromX) > CLICK_PX_MAX });
    this.draw();
  }

  onUp(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer && !pointer.far) this.select(this.itemAt(event.offsetX, event.offsetY));
  }

  point(item) {
    if (item === this.pointed) return;
    this.pointed = item;
    this.canvas.style.cursor = item ? 'pointer' : '';
    this.draw();
    this.onPoint(item);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { items } = this.arranged;
    const at = items.indexOf(this.selected);
    const step = (to) => this.select(items[Math.min(items.length - 1, Math.max(0, to))] ?? null);
    const quarter = (this.to - this.from) / 4;
    const acts = {
      ArrowRight: () => (event.shiftKey ? this.move(quarter) : step(at + 1)),
      ArrowLeft: () => (event.shiftKey ? this.move(-quarter) : step(at < 0 ? 0 : at - 1)),
      Home: () => step(0),
      End: () => step(items.length - 1),
      '+': () => this.command('in'),
      '=': () => this.command('in'),
      '-': () => this.command('out'),
      0: () => this.command('fit'),
      Enter: () => this.command('selected'),
      Escape: () => this.select(null),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    acts[event.key]();
    event.preventDefault();
    this.draw();
  }
}
