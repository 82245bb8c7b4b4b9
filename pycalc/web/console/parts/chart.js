// Charts: bars for the eye, drawn by uPlot, and the same figures as a table for everybody.

import { html, useEffect, useRef } from "../../vendor/preact.js";
import { number, t, theme } from "../app.js";
import { Table } from "./table.js";

const HEIGHT = 260;
const COLOURS = ["#0b7a6b", "#c2762b", "#4566b0", "#a3487d", "#6b8e23", "#7a5bb5", "#8a8f93"];

/**
 * @typedef {{label: string, values: number[]}} Series
 * @typedef {{label: string, axis: string, points: string[], series: Series[], empty: string,
 *   format?: (value: number) => string, short?: (point: string) => string}} Figures
 *   `short` writes a point below the bars
 */

/** Load uPlot and its style sheet, once. */
async function loadPlot() {
  const href = new URL("../../vendor/uplot.css", import.meta.url).href;
  if (!document.querySelector(`link[href="${href}"]`)) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
    document.head.append(link);
    await new Promise((resolve) => { link.onload = resolve; link.onerror = resolve; });
  }
  return (await import("../../vendor/uplot.js")).default;
}

/** Stacked bars: each series is drawn on those after it, so the first one is the whole height.
 * @param {Series[]} series */
function stacked(series) {
  const sums = series.map(({ values }) => [...values]);
  for (let index = sums.length - 2; index >= 0; index -= 1) sums[index] = sums[index].map((value, at) => value + sums[index + 1][at]);
  return sums;
}

/** @param {Figures} figures */
function Bars({ points, series, format = number, short = String }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const shown = JSON.stringify([points, series, theme.value.value]);
  useEffect(() => {
    let plot = /** @type {import("../../vendor/uplot.js").default | null} */ (null);
    let gone = false;
    const sized = new ResizeObserver(([{ contentRect }]) => plot?.setSize({ width: contentRect.width, height: HEIGHT }));
    loadPlot().then((Plot) => {
      const host = place.current;
      if (gone || !host) return;
      const style = getComputedStyle(host);
      const axis = { stroke: style.color, grid: { stroke: style.borderColor, width: 1 }, ticks: { show: false } };
      const names = (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((index) => (Number.isInteger(index) && points[index] !== undefined ? short(points[index]) : ""));
      plot = new Plot({
        width: host.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { show: false },
        scales: { x: { time: false, range: [-0.6, points.length - 0.4] }, y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ most) => [0, most > 0 ? most * 1.05 : 1] } },
        axes: [{ ...axis, grid: { show: false }, values: names, incrs: [1, 2, 5, 7, 14, 30] }, { ...axis, size: 70, values: (/** @type {any} */ __, /** @type {number[]} */ at) => at.map(format) }],
        series: [{}, ...series.map((_, index) => ({ fill: COLOURS[index % COLOURS.length], width: 0, points: { show: false }, paths: Plot.paths.bars({ size: [0.7, 48], radius: 0.08 }) }))],
      }, [points.map((_, index) => index), ...stacked(series)], host);
      sized.observe(host);
    });
    return () => { gone = true; sized.disconnect(); plot?.destroy(); };
  }, [shown]);
  return html`<div ref=${place} class="bars"></div>`;
}

/**
 * Series of numbers over labelled points, stacked, with the same figures in a table.
 * @param {Figures} figures
 */
export function Chart(figures) {
  const { label, axis, points, series, empty, format = number } = figures;
  const rows = points.map((point, index) => ({ point, index }));
  const columns = [
    { key: "point", label: axis, cell: (/** @type {{point: string}} */ row) => row.point },
    ...series.map((one) => ({
      key: one.label, label: one.label, number: true, cell: (/** @type {{index: number}} */ { index }) => format(one.values[index]),
    })),
  ];
  const filled = rows.filter(({ index }) => series.some(({ values }) => values[index] !== 0)).reverse();
  if (filled.length === 0) return html`<figure class="chart"><figcaption>${label}</figcaption><p class="empty">${empty}</p></figure>`;
  return html`<figure class="chart"><figcaption>${label}</figcaption><div aria-hidden="true"><${Bars} ...${figures} />
      <ul class="legend">${series.map((one, index) => html`<li key=${one.label}><svg viewBox="0 0 10 10" width="10" height="10"><rect width="10" height="10" rx="2" fill=${COLOURS[index % COLOURS.length]} /></svg>${one.label}</li>`)}</ul></div>
    <details><summary>${t("app.as-table")}</summary>
      <${Table} label=${label} columns=${columns} rows=${filled} id=${(/** @type {{point: string}} */ row) => row.point} empty=${empty} /></details></figure>`;
}
