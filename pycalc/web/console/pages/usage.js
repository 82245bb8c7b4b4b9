// The page Usage: totals by day and operation, and what is left of the quotas.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { duration, number, query, t, when, who } from "../app.js";
import { Problem, readJson, request } from "../api.js";
import { Chart } from "../parts/chart.js";
import { ErrorCard } from "../parts/error-card.js";
import { FilterField, choose } from "../parts/filters.js";
import { Table } from "../parts/table.js";
import { Quotas, rateLimits } from "../usage/quotas.js";

export const access = "user";

const PERIODS = ["7", "30", "90"];
const MEASURES = ["count", "digits", "compute_ms", "cached"];
const MOST_SERIES = 6;
const DAY_MS = 86_400_000;

/** @typedef {{day: string, operation: string, count: number, cached: number, digits: number | string, compute_ms: number}} Total */

/** The days of the period, oldest first, as the service names them (UTC). @param {number} days */
const daysOf = (days) => Array.from({ length: days }, (_, index) => new Date(Date.now() - (days - 1 - index) * DAY_MS).toISOString().slice(0, 10));

/** The sums of a measure, by operation and day; the smallest operations together. @param {Total[]} items @param {string} measure @param {string[]} days */
function seriesOf(items, measure, days) {
  const sums = new Map();
  for (const item of items) {
    const values = sums.get(item.operation) ?? days.map(() => 0);
    values[days.indexOf(item.day)] += Number(item[/** @type {keyof Total} */ (measure)]);
    sums.set(item.operation, values);
  }
  const whole = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0);
  const sorted = [...sums].map(([label, values]) => ({ label, values })).sort((a, b) => whole(b.values) - whole(a.values));
  const rest = sorted.slice(MOST_SERIES);
  const together = rest.length > 0 ? [{ label: t("usage.others"), values: days.map((_, at) => whole(rest.map(({ values }) => values[at]))) }] : [];
  return [...sorted.slice(0, MOST_SERIES), ...together];
}

/** @param {{name: string, options: string[], value: string}} props */
function Choice({ name, options, value }) {
  return html`<div class="segments" role="group" aria-label=${t(`usage.${name}`)}>${options.map((option) => html`
    <button type="button" key=${option} aria-pressed=${option === value} onClick=${() => choose(name, option)}>${t(`usage.${name}.${option}`)}</button>`)}</div>`;
}

/** @param {{items: Total[]}} props */
function Operations({ items }) {
  const sums = new Map();
  for (const { operation, count, cached, digits, compute_ms: spent } of items) {
    const sum = sums.get(operation) ?? { operation, count: 0, cached: 0, digits: 0n, spent: 0 };
    sums.set(operation, { operation, count: sum.count + count, cached: sum.cached + cached, digits: sum.digits + BigInt(digits), spent: sum.spent + spent });
  }
  const rows = [...sums.values()].sort((a, b) => b.count - a.count);
  const columns = [
    { key: "operation", label: t("history.operation"), cell: (/** @type {any} */ { operation }) => html`<span class="mono">${operation}</span>` },
    { key: "count", label: t("usage.measure.count"), number: true, cell: (/** @type {any} */ { count }) => number(count) },
    { key: "cached", label: t("usage.cache-rate"), number: true, cell: (/** @type {any} */ { count, cached }) => number(cached / count, { style: "percent" }) },
    { key: "digits", label: t("usage.measure.digits"), number: true, cell: (/** @type {any} */ { digits }) => number(digits) },
    { key: "spent", label: t("usage.measure.compute_ms"), number: true, cell: (/** @type {any} */ { spent }) => duration(spent) },
  ];
  return html`<${Table} label=${t("usage.by-operation")} columns=${columns} rows=${rows} id=${(/** @type {any} */ { operation }) => operation} empty=${t("usage.none")} />`;
}

export default function Usage() {
  const period = PERIODS.includes(query.value.get("period") ?? "") ? String(query.value.get("period")) : "30";
  const measure = MEASURES.includes(query.value.get("measure") ?? "") ? String(query.value.get("measure")) : "count";
  const user = query.value.get("user") ?? "";
  const report = useSignal(/** @type {{items: Total[], quotas: any[]} | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const days = daysOf(Number(period));
  const load = async (/** @type {AbortSignal | undefined} */ signal = undefined) => {
    problem.value = null;
    try {
      const answer = await request(`/usage?${new URLSearchParams({ since: days[0], ...(user ? { user } : {}) })}`, { signal });
      const { items, quotas } = await readJson(answer);
      report.value = { items: items.filter(({ day = "" }) => days.includes(day)), quotas: [...rateLimits(answer.headers), ...quotas] };
    } catch (error) {
      if (error instanceof Problem) problem.value = error;
      else if (!signal?.aborted) throw error;
    }
  };
  useEffect(() => {
    const stop = new AbortController();
    load(stop.signal);
    return () => stop.abort();
  }, [days[0], user]);
  const admin = who.value?.role === "admin";
  const format = measure === "compute_ms" ? duration : (/** @type {number} */ value) => number(value, { notation: value >= 1e6 ? "compact" : "standard" });
  const short = (/** @type {string} */ day) => when(`${day}T12:00:00Z`, { day: "numeric", month: "short" });
  return html`<h1 tabindex="-1">${t("usage.title")}</h1><p class="lead">${t(admin ? "usage.lead-admin" : "usage.lead")}</p>
    <div class="row"><${Choice} name="measure" options=${MEASURES} value=${measure} /><span class="spring"></span>
      <${Choice} name="period" options=${PERIODS} value=${period} />
      ${admin && html`<${FilterField} name="user" label=${t("history.user")} of="row" data-slash />`}</div>
    ${problem.value && html`<${ErrorCard} problem=${problem.value} onRetry=${() => load()} />`}
    ${report.value === null ? !problem.value && html`<div class="skeleton" aria-busy="true" aria-label=${t("app.loading")}></div>` : html`
      <section class="card"><${Chart} label=${t(`usage.measure.${measure}`)} axis=${t("usage.day")} points=${days} series=${seriesOf(report.value.items, measure, days)}
        empty=${t("usage.none")} format=${format} short=${short} /></section>
      <section class="card" aria-labelledby="operations"><h2 id="operations">${t("usage.by-operation")}</h2><${Operations} items=${report.value.items} /></section>
      ${!user && html`<section class="card" aria-labelledby="quotas"><h2 id="quotas">${t("usage.quotas")}</h2><${Quotas} quotas=${report.value.quotas} /></section>`}`}`;
}
