// Events that could not be delivered: look, publish again, discard.

import { html, useSignal } from "../../vendor/preact.js";
import { t, when } from "../app.js";
import { request } from "../api.js";
import { Drawer, confirmed } from "../parts/dialog.js";
import { attempt } from "../parts/loaded.js";
import { More, usePages } from "../parts/pages.js";
import { Table } from "../parts/table.js";
import { toast } from "../parts/toast.js";

/** @typedef {{id: number, stage: string, event_id: string | null, origin: string, reason: string, content: string, created_at: string}} Letter */

/** JSON is indented; anything else is shown as it is. @param {string} content */
function legible(content) {
  try { return JSON.stringify(JSON.parse(content), null, 2); } catch { return content; }
}

export default function DeadLetters() {
  /** @type {import("../parts/pages.js").Pages<Letter>} */
  const pages = usePages("/admin/dead-letters?limit=50");
  const open = useSignal(/** @type {Letter | null} */ (null));
  const act = (/** @type {Letter} */ { id }, /** @type {string} */ method, /** @type {string} */ suffix, /** @type {string} */ done) => attempt(async () => {
    await request(`/admin/dead-letters/${id}${suffix}`, { method });
    open.value = null;
    toast(t(done));
    await pages.reload();
  });
  const discard = async (/** @type {Letter} */ letter) => {
    const sure = { title: t("letters.discard"), text: t("letters.discard-text"), action: t("letters.discard") };
    if (await confirmed(sure)) await act(letter, "DELETE", "", "letters.discarded");
  };
  const columns = [
    { key: "id", label: t("letters.number"), number: true, cell: (/** @type {Letter} */ { id }) => id },
    { key: "stage", label: t("letters.stage"), cell: (/** @type {Letter} */ { stage }) => t(`letters.${stage}`) },
    { key: "reason", label: t("letters.reason"), cell: (/** @type {Letter} */ letter) => html`<button type="button" class="link mono"
      onClick=${() => { open.value = letter; }}>${letter.reason}</button>` },
    { key: "when", label: t("history.when"), cell: (/** @type {Letter} */ { created_at: at }) => html`<time>${when(at)}</time>` },
  ];
  return html`<p class="hint">${t("letters.lead")}</p>
    <${More} pages=${pages}>${(/** @type {Letter[] | null} */ rows) => html`<${Table} label=${t("admin.dead-letters")} columns=${columns} rows=${rows}
      id=${(/** @type {Letter} */ { id }) => String(id)} empty=${t("letters.none")} />`}<//>
    ${open.value && html`<${Drawer} title=${t("letters.one", { n: open.value.id })} onClose=${() => { open.value = null; }}>
      <dl class="pairs"><dt>${t("letters.reason")}</dt><dd>${open.value.reason}</dd><dt>${t("letters.origin")}</dt><dd class="mono">${open.value.origin}</dd></dl>
      <pre tabindex="0" aria-label=${t("letters.content")}><code>${legible(open.value.content)}</code></pre>
      <div class="row">${open.value.event_id && html`<button type="button" class="primary"
          onClick=${() => open.value && act(open.value, "POST", "/requeue", "letters.requeued")}>${t("letters.requeue")}</button>`}
        <button type="button" class="danger" onClick=${() => open.value && discard(open.value)}>${t("letters.discard")}</button></div><//>`}`;
}
