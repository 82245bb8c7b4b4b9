// Digits in rows, of which only those in view exist, so that 20 million take no more than a thousand.

import { html, useEffect, useLayoutEffect, useRef, useSignal } from "../../vendor/preact.js";
import { number } from "../app.js";

const ROW = 26; // pixels, as in the style sheet
const TALLEST = 10_000_000; // pixels; browsers have a limit for the height of an element
const MOST_IN_ROW = 100;

/** The first hit that is not before `from`. @param {Uint32Array} hits @param {number} from */
export function firstFrom(hits, from) {
  let [low, high] = [0, hits.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (hits[middle] < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A group's digits, those of hits marked.
 * @param {string} text @param {number} start @param {number} end @param {{hits: Uint32Array, length: number, current: number}} search
 */
function marked(text, start, end, { hits, length, current }) {
  const parts = [];
  let at = start;
  for (let index = firstFrom(hits, start - length + 1); index < hits.length && hits[index] < end; index += 1) {
    const [from, to] = [Math.max(at, hits[index]), Math.min(end, hits[index] + length)];
    if (from >= to) continue;
    parts.push(text.slice(at, from), html`<mark class=${index === current ? "current" : ""}>${text.slice(from, to)}</mark>`);
    at = to;
  }
  return [...parts, text.slice(at, end)];
}

/**
 * @param {{text: string, group: number, label: string, goal: {at: number}, search: {hits: Uint32Array, length: number, current: number}}} props
 *   a new `goal` brings its digit into view
 */
export function Rows({ text, group, label, goal, search }) {
  const frame = useRef(/** @type {HTMLDivElement | null} */ (null));
  const probe = useRef(/** @type {HTMLSpanElement | null} */ (null));
  const size = useSignal({ perRow: group, shown: 0 });
  const first = useSignal(0);
  const { perRow, shown } = size.value;
  const count = Math.ceil(text.length / perRow);
  const height = Math.min(count * ROW, TALLEST);
  const most = Math.max(0, count - shown);
  useLayoutEffect(() => {
    const measure = () => {
      if (!frame.current || !probe.current) return;
      const digit = probe.current.getBoundingClientRect().width / 10;
      const gutter = digit * (number(text.length).length + 3);
      const groups = Math.floor((frame.current.clientWidth - gutter) / (digit * (group + 1)));
      const wanted = Math.max(1, Math.min(groups, Math.floor(MOST_IN_ROW / group))) * group;
      size.value = { perRow: wanted, shown: Math.floor(frame.current.clientHeight / ROW) };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(/** @type {HTMLDivElement} */ (frame.current));
    measure();
    return () => observer.disconnect();
  }, [text, group]);
  const show = (/** @type {number} */ row) => {
    const place = frame.current;
    if (!place) return;
    first.value = Math.max(0, Math.min(most, row));
    place.scrollTop = most === 0 ? 0 : (first.value / most) * (place.scrollHeight - place.clientHeight);
  };
  useEffect(() => {
    if (shown > 0) show(Math.floor(goal.at / perRow) - Math.floor(shown / 3));
  }, [goal, perRow, shown]);
  const onScroll = () => {
    const place = /** @type {HTMLDivElement} */ (frame.current);
    const room = place.scrollHeight - place.clientHeight;
    const row = room > 0 ? Math.round((place.scrollTop / room) * most) : 0;
    if (Math.abs(row - first.value) > 0) first.value = row;
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: shown - 1, PageUp: 1 - shown, Home: -count, End: count }[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(first.value + step);
  };
  const rows = [];
  const gutter = { minWidth: `${number(text.length).length}ch` };
  for (let row = first.value; row < Math.min(count, first.value + shown); row += 1) {
    const groups = [];
    const end = Math.min(text.length, (row + 1) * perRow);
    for (let at = row * perRow; at < end; at += group) {
      groups.push(html`<span class="group">${marked(text, at, Math.min(end, at + group), search)}</span>`);
    }
    rows.push(html`<div class="digit-row" key=${row}><span class="offset" style=${gutter}>${number(row * perRow + 1)}</span>${groups}</div>`);
  }
  return html`<div class="digit-rows mono" ref=${frame} role="group" aria-label=${label} tabindex="0" onScroll=${onScroll} onKeyDown=${onKey}>
    <span class="probe" ref=${probe} aria-hidden="true">0000000000</span>
    <div style=${{ height: `${height}px` }}><div class="digit-window">${rows}</div></div></div>`;
}
