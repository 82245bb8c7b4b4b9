// A scatter plot on logarithmic axes, as SVG. What it shows must stand in a table beside it, too.

import { html } from "../../vendor/preact.js";
import { number } from "../app.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, EDGE] = [720, 320, 64, 44, 14];
const MOST_POINTS = 4_000;

/** The powers of ten around some positive values. @param {number[]} values */
function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))];
}

/** @param {number} low @param {number} high */
function ticks(low, high) {
  const step = Math.max(1, Math.ceil((high - low) / 8));
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, index) => low + index * step);
}

/** @param {{label: string, x: string, y: string, points: [number, number][]}} props both coordinates are above 0 */
export function Scatter({ label, x, y, points }) {
  const every = Math.ceil(points.length / MOST_POINTS);
  const shown = points.filter((_, index) => index % every === 0);
  if (shown.length === 0) return null;
  const [left, right] = decades(shown.map(([value]) => value));
  const [low, high] = decades(shown.map(([, value]) => value));
  const across = (/** @type {number} */ power) => LEFT + ((power - left) / (right - left)) * (WIDTH - LEFT - EDGE);
  const up = (/** @type {number} */ power) => HEIGHT - BOTTOM - ((power - low) / (high - low)) * (HEIGHT - BOTTOM - EDGE);
  const written = (/** @type {number} */ power) => number(10 ** power, { notation: "compact", maximumSignificantDigits: 2 });
  return html`<figure class="chart scatter"><figcaption>${label}</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      ${ticks(left, right).map((power) => html`<line x1=${across(power)} x2=${across(power)} y1=${EDGE} y2=${HEIGHT - BOTTOM} />
        <text x=${across(power)} y=${HEIGHT - BOTTOM + 18} text-anchor="middle">${written(power)}</text>`)}
      ${ticks(low, high).map((power) => html`<line x1=${LEFT} x2=${WIDTH - EDGE} y1=${up(power)} y2=${up(power)} />
        <text x=${LEFT - 8} y=${up(power) + 4} text-anchor="end">${written(power)}</text>`)}
      <text x=${WIDTH - EDGE} y=${HEIGHT - 6} text-anchor="end">${x}</text><text x=${LEFT + 6} y=${EDGE + 14}>${y}</text>
      ${shown.map(([one, other]) => html`<circle cx=${across(Math.log10(one))} cy=${up(Math.log10(other))} r="3" />`)}
    </svg></figure>`;
}
