// Charts: the figures as a line for the eye, and as a table for everybody.

import { html } from "../../vendor/preact.js";
import { number } from "../app.js";
import { Table } from "./table.js";

/**
 * Series of numbers over labelled points, with the same figures in a table. The drawing is the child.
 * @typedef {{label: string, values: number[]}} Series
 * @param {{label: string, axis: string, points: string[], series: Series[], empty: string, children?: any}} props
 */
export function Chart({ label, axis, points, series, empty, children }) {
  const rows = points.map((point, index) => ({ point, index }));
  const columns = [
    { key: "point", label: axis, cell: (/** @type {{point: string}} */ row) => row.point },
    ...series.map((one) => ({
      key: one.label, label: one.label, number: true,
      cell: (/** @type {{index: number}} */ { index }) => number(one.values[index]),
    })),
  ];
  return html`<figure class="chart"><figcaption>${label}</figcaption><div aria-hidden="true">${children}</div>
    <${Table} label=${label} columns=${columns} rows=${rows} id=${(/** @type {{point: string}} */ row) => row.point} empty=${empty} /></figure>`;
}
