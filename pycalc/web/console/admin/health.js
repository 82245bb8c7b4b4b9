// The health of the service: each dependency, and each process with its figures. Read again every few seconds.

import { html, useEffect } from "../../vendor/preact.js";
import { duration, number, t, when } from "../app.js";
import { bytesText } from "../parts/bytes.js";
import { Shown, useLoaded } from "../parts/loaded.js";
import { Table } from "../parts/table.js";

const REFRESH_MS = 5_000;

/** @typedef {{ok: boolean, latency_ms: number, detail?: string}} Check */
/** @typedef {{id: string, command: string, version: string, started_at: string, seen_at: string, figures: Record<string, any>}} Instance */

/** A figure for the eye. @param {string} name @param {any} value @returns {string} */
function figureText(name, value) {
  if (value === null || value === undefined) return "–";
  if (name.endsWith("_bytes")) return bytesText(value);
  if (name.endsWith("_seconds")) return duration(value * 1000);
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key} ${figureText(key, one)}`).join(", ");
  if (typeof value === "boolean") return t(value ? "app.yes" : "app.no");
  return typeof value === "number" ? number(value) : String(value);
}

/** @param {{instance: Instance}} props */
function Process({ instance }) {
  const { command, version, started_at: started, seen_at: seen, figures } = instance;
  return html`<section class="card" aria-label=${`${command} ${instance.id}`}>
    <div class="row"><h2>${command}</h2><span class="chip">${version}</span><span class="spring"></span><code class="hint">${instance.id.slice(0, 8)}</code></div>
    <p class="hint">${t("health.since", { started: when(started), seen: when(seen, { timeStyle: "medium" }) })}</p>
    <dl class="pairs">${Object.entries(figures).map(([name, value]) => html`<dt key=${name}>${t(`figure.${name}`)}</dt><dd>${figureText(name, value)}</dd>`)}</dl></section>`;
}

export default function Health() {
  /** @type {import("../parts/loaded.js").Loaded<{version: string, status: string, checks: Record<string, Check>, dead_letters: number, instances: Instance[]}>} */
  const loaded = useLoaded("/admin/overview");
  useEffect(() => {
    if (loaded.busy) return undefined; // a slow answer is waited for
    const timer = setInterval(() => { if (!document.hidden) loaded.reload(); }, REFRESH_MS);
    return () => clearInterval(timer);
  }, [loaded.busy]);
  const columns = [
    { key: "name", label: t("health.dependency"), cell: (/** @type {any} */ [name]) => t(`check.${name}`) },
    { key: "state", label: t("users.state"), cell: (/** @type {any} */ [, { ok, detail }]) => html`<span class=${ok ? "chip" : "chip warn"}>${t(ok ? "health.ok" : "health.failing")}</span>
      ${detail && html` <span class="hint">${detail}</span>`}` },
    { key: "latency", label: t("health.latency"), number: true, cell: (/** @type {any} */ [, { latency_ms: ms }]) => duration(ms) },
  ];
  return html`<${Shown} loaded=${loaded}>${(/** @type {any} */ { status, version, checks, dead_letters: letters, instances }) => html`
    <div class="row"><span class=${status === "ok" ? "chip" : "chip warn"}>${t(`health.${status}`)}</span>
      <span class="hint">${t("health.version", { version })} · ${t("health.letters", { n: letters })}</span></div>
    <section class="card" aria-labelledby="checks"><h2 id="checks">${t("health.dependencies")}</h2>
      <${Table} label=${t("health.dependencies")} columns=${columns} rows=${Object.entries(checks)} id=${(/** @type {any} */ [name]) => name} empty="" /></section>
    <div class="cards">${instances.map((/** @type {Instance} */ instance) => html`<${Process} key=${instance.id} instance=${instance} />`)}</div>`}<//>`;
}
