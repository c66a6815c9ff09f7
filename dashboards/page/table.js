// Elements, and tables that change in place: a row whose data are the same keeps its element, so a
// refresh moves neither focus nor selection nor the scroll position.
//
// Invariants: nothing moves beneath a pressed pointer, or what is released is not what was pressed and
// the browser makes no click of it; text enters as text. Nothing here, or anywhere on the page, parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element with properties (`className`, `textContent`, `title`, …) and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An SVG element with attributes and children. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Text only a screen reader meets. */
export function unseen(text) {
  return element('span', { className: 'unseen', textContent: text });
}

/**
 * A table of `columns`: `{head, name, title?, cell(row, td)}`, where `cell` returns text or a node.
 * `key(row)` tells rows apart; `name` becomes the cell's class and, on narrow screens, its label.
 */
export class Table {
  constructor(host, columns, key) {
    this.columns = columns;
    this.key = key;
    this.kept = new Map();
    /** The latest rows that came while the pointer was pressed, as the arguments of `show`. */
    this.held = null;
    this.isPressed = false;
    this.heads = columns.map(headCell);
    this.body = element('tbody');
    // Narrow screens lay rows out as grids; browsers then forget that they are rows, so say it.
    host.setAttribute('role', 'table');
    this.body.setAttribute('role', 'rowgroup');
    const top = element('thead', {}, asRow(element('tr', {}, ...this.heads)));
    top.setAttribute('role', 'rowgroup');
    host.replaceChildren(top, this.body);
    // Anywhere: a table that grows moves what stands below it.
    addEventListener('pointerdown', (event) => { if (event.isPrimary && event.button === 0) this.isPressed = true; });
    // Also where the press ends without one: as a menu, as the drag of a link, in another window.
    for (const end of ['pointerup', 'pointercancel', 'contextmenu', 'blur']) addEventListener(end, () => this.release());
    // And where nobody heard of its end, as on a scroll bar.
    addEventListener('pointermove', (event) => { if (event.isPrimary && event.buttons === 0) this.release(); });
  }

  /** The click comes after the release, and in the same task. */
  release() {
    if (!this.isPressed) return;
    setTimeout(() => {
      this.isPressed = false;
      if (this.held) this.show(...this.held);
    });
  }

  /** Shows these rows. `context` is whatever else the cells depend on, such as a shared axis. */
  show(rows, context = '') {
    this.held = this.isPressed ? [rows, context] : null;
    if (this.held) return;
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest('tr')?.dataset.key
      : undefined;
    const next = new Map();
    rows.forEach((row, place) => {
      const named = String(this.key(row));
      const key = next.has(named) ? `${named} ${place}` : named;
      const data = context + JSON.stringify(row);
      const before = this.kept.get(key);
      next.set(key, before?.data === data ? before : { data, tr: this.rowOf(row, key) });
    });
    // First out with what changed, then in with the new: rows that stay are then never moved.
    for (const [key, { tr }] of this.kept) if (next.get(key)?.tr !== tr) tr.remove();
    [...next.values()].forEach(({ tr }, place) => {
      const there = this.body.children[place] ?? null;
      if (there !== tr) this.body.insertBefore(tr, there);
    });
    this.kept = next;
    if (focused !== undefined && !this.body.contains(document.activeElement)) {
      next.get(focused)?.tr.querySelector('a, button')?.focus({ preventScroll: true });
    }
  }

  /** The element of the row with this key, if it is shown. */
  rowAt(key) {
    return this.kept.get(String(key))?.tr ?? null;
  }

  rowOf(row, key) {
    const tr = asRow(element('tr'));
    tr.dataset.key = key;
    this.columns.forEach((column, place) => {
      const td = element(place === 0 ? 'th' : 'td', { className: column.name });
      if (place === 0) td.scope = 'row';
      td.setAttribute('role', place === 0 ? 'rowheader' : 'cell');
      td.dataset.label = column.label ?? column.head;
      const content = column.cell(row, td, tr);
      td.append(content ?? '');
      tr.append(td);
    });
    return tr;
  }
}

function headCell(column) {
  const th = element('th', { className: column.name, textContent: column.head, scope: 'col', title: column.title ?? '' });
  th.setAttribute('role', 'columnheader');
  return th;
}

function asRow(tr) {
  tr.setAttribute('role', 'row');
  return tr;
}
