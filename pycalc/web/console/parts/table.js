// Tables: rows with keys, so that a live refresh changes what has changed and focus stays; cards on a phone.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

/**
 * @template Row
 * @typedef {{key: string, label: string, cell: (row: Row) => any, number?: boolean, hidden?: boolean}} Column
 *   `hidden` hides the heading from sight, not from screen readers
 */

/**
 * @template Row
 * @param {{label: string, columns: Column<Row>[], rows: Row[] | null, id: (row: Row) => string, empty: string}} props
 *   `rows` is null while they are loaded
 */
export function Table({ label, columns, rows, id, empty }) {
  if (rows === null) return html`<div class="skeleton" aria-busy="true" aria-label=${t("app.loading")}></div>`;
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  // The roles are written out, because browsers forget those of a table that is laid out as cards.
  return html`<div class="table-frame"><table role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map(({ key, label: text, number, hidden }) => html`
      <th key=${key} role="columnheader" scope="col" class=${number ? "number" : ""}>
        <span class=${hidden ? "offscreen" : ""}>${text}</span></th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row) => html`<tr key=${id(row)} role="row">${columns.map((column) => html`
      <td key=${column.key} role="cell" data-label=${column.hidden ? undefined : column.label}
        class=${column.number ? "number" : ""}>${column.cell(row)}</td>`)}</tr>`)}</tbody></table></div>`;
}
