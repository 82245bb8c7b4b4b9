// The audit log: who did what to whom, from where, and how it ended.

import { html } from "../../vendor/preact.js";
import { t, when } from "../app.js";
import { Export } from "../parts/export.js";
import { FilterField, isMoment, selection } from "../parts/filters.js";
import { More, usePages } from "../parts/pages.js";
import { Table } from "../parts/table.js";

/** @typedef {{id: string, created_at: string, action: string, actor: string | null, subject: string | null, address: string | null,
 *   outcome: string, details: Record<string, any>}} Entry */

const FILTERS = ["actor", "action", "subject", "since", "until"];
export default function Audit() {
  const chosen = selection(FILTERS);
  /** @type {import("../parts/pages.js").Pages<Entry>} */
  const pages = usePages(`/admin/audit?limit=50${chosen.size > 0 ? `&${chosen}` : ""}`);
  const columns = [
    { key: "when", label: t("history.when"), cell: (/** @type {Entry} */ { created_at: at }) => html`<time>${when(at, { dateStyle: "short", timeStyle: "medium" })}</time>` },
    { key: "action", label: t("audit.action"), cell: (/** @type {Entry} */ { action, outcome }) => html`${action} ${outcome !== "done" && html`<span class="chip warn">${t(`audit.${outcome}`)}</span>`}` },
    { key: "actor", label: t("audit.actor"), cell: (/** @type {Entry} */ { actor }) => actor ?? "–" },
    { key: "subject", label: t("audit.subject"), cell: (/** @type {Entry} */ { subject }) => subject ?? "–" },
    { key: "address", label: t("sessions.address"), cell: (/** @type {Entry} */ { address: from }) => from ?? "–" },
    { key: "details", label: t("audit.details"), cell: (/** @type {Entry} */ { details }) => html`<span class="hint">${Object.entries(details).map(([name, value]) => `${name}: ${
      typeof value === "object" ? JSON.stringify(value) : value}`).join(", ")}</span>` },
  ];
  return html`<form class="filters row" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>${FILTERS.map((name) => html`
      <${FilterField} key=${name} name=${name} label=${t(isMoment(name) ? `history.${name}` : `audit.${name}`)} type=${isMoment(name) ? "datetime-local" : "text"} />`)}</form>
    <div class="row"><span class="spring"></span><${Export} path=${`/admin/audit${chosen.size > 0 ? `?${chosen}` : ""}`} name="audit" /></div>
    <${More} pages=${pages}>${(/** @type {Entry[] | null} */ rows) => html`<${Table} label=${t("admin.audit")} columns=${columns} rows=${rows}
      id=${(/** @type {Entry} */ { id }) => id} empty=${t("audit.none")} />`}<//>`;
}
