// The open sessions of the account, and their end.

import { html } from "../../vendor/preact.js";
import { t, when } from "../app.js";
import { request } from "../api.js";
import { confirmed } from "../parts/dialog.js";
import { Shown, attempt, useLoaded } from "../parts/loaded.js";
import { Table } from "../parts/table.js";
import { toast } from "../parts/toast.js";
import { forget } from "../session.js";

/** @typedef {{id: string, opened_at: string, last_used_at: string, address: string | null, client: string | null,
 *   current: boolean}} Session */

const BROWSERS = [[/\bEdg\w*\/(\d+)/, "Edge"], [/\bFirefox\/(\d+)/, "Firefox"], [/Chrome\/(\d+)/, "Chrome"], [/\bVersion\/(\d+).*Safari/, "Safari"]];
const SYSTEMS = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS X/, "macOS"], [/Linux/, "Linux"]];

/** The browser and system that a User-Agent names; other programs are shown as they call themselves. @param {string} agent */
function program(agent) {
  const browser = /** @type {[RegExp, string][]} */ (BROWSERS).map(([sign, name]) => [agent.match(sign)?.[1], name]).find(([version]) => version);
  const system = /** @type {[RegExp, string][]} */ (SYSTEMS).find(([sign]) => sign.test(agent))?.[1];
  return browser ? [browser[1], browser[0], system && `· ${system}`].filter(Boolean).join(" ") : agent;
}

export function Sessions() {
  /** @type {import("../parts/loaded.js").Loaded<Session[]>} */
  const loaded = useLoaded("/me/sessions");
  const end = (/** @type {Session} */ session) => attempt(async () => {
    await request(`/me/sessions/${session.id}`, { method: "DELETE" });
    toast(t("sessions.ended"));
    await loaded.reload();
  });
  const endAll = async () => {
    const sure = { title: t("sessions.end-all"), text: t("sessions.end-all-text"), action: t("sessions.end-all") };
    if (!(await confirmed(sure))) return;
    await attempt(async () => {
      await request("/logout-all", { method: "POST", cookie: true });
      forget();
    });
  };
  const columns = [
    { key: "client", label: t("sessions.client"), cell: (/** @type {Session} */ { client, current }) => html`<span title=${client}>${client ? program(client)
      : t("sessions.unknown")}</span>${current && html` <span class="chip">${t("sessions.current")}</span>`}` },
    { key: "address", label: t("sessions.address"), cell: (/** @type {Session} */ { address }) => address ?? "–" },
    { key: "opened", label: t("sessions.opened"), cell: (/** @type {Session} */ { opened_at }) => html`<time>${when(opened_at)}</time>` },
    { key: "used", label: t("sessions.used"), cell: (/** @type {Session} */ { last_used_at }) => html`<time>${when(last_used_at)}</time>` },
    { key: "end", label: t("sessions.end"), hidden: true, cell: (/** @type {Session} */ session) => !session.current && html`
      <button type="button" class="quiet" onClick=${() => end(session)}
        aria-label=${`${t("sessions.end")}: ${session.client ?? session.id}`}>${t("sessions.end")}</button>` },
  ];
  return html`<section class="card" aria-labelledby="sessions">
    <div class="row"><h2 id="sessions">${t("sessions.title")}</h2><span class="spring"></span>
      <button type="button" class="quiet" onClick=${endAll}>${t("sessions.end-all")}</button></div>
    <${Shown} loaded=${loaded}>${(/** @type {Session[]} */ rows) => html`<${Table} label=${t("sessions.title")} columns=${columns} rows=${rows}
      id=${(/** @type {Session} */ { id }) => id} empty=${t("sessions.none")} />`}<//></section>`;
}
