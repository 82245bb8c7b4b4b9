// A result that is too long to write out: how long it is, its ends, and as many of its last digits as are wanted.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { lastDigits, requestOf } from "../calculation.js";
import { calculate } from "../pages/calculate.js";
import { Ends } from "../parts/digits.js";
import { attempt } from "../parts/loaded.js";
import { roughly } from "./preview.js";

const MOST_LAST = 10_000;
const LONGEST_WRITTEN = 15; // a number of digits with more digits of its own is written roughly

/**
 * The size and ends, in decimal, of an expression that the service did not evaluate.
 * @param {URLSearchParams} wanted @param {AbortSignal} signal
 * @returns {Promise<{digits?: number | string, limit?: number, leading?: string, trailing?: string}>}
 */
async function endsOf(wanted, signal) {
  const { call, digits, limit } = await requestJson("/evaluate/preview", { method: "POST", json: requestOf(wanted).json, signal });
  if (!call) return { digits, limit };
  return { ...await requestJson("/calculations", { method: "POST", json: { ...call, view: "summary" }, signal }), limit };
}

/** @param {{problem: Problem, wanted: URLSearchParams}} props */
export function TooLarge({ problem, wanted }) {
  const known = useSignal(/** @type {{digits?: number | string, limit?: number, leading?: string, trailing?: string}} */ (problem.members));
  const last = useSignal("20");
  const base = wanted.get("base");
  useEffect(() => {
    const stop = new AbortController();
    if (wanted.has("expression") && known.value.digits === undefined) {
      attempt(async () => { known.value = await endsOf(wanted, stop.signal); }, () => { /* the size stays unknown */ }).catch((error) => {
        if (!stop.signal.aborted) throw error;
      });
    }
    return () => stop.abort();
  }, []);
  const { digits, limit, leading, trailing } = known.value;
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    calculate(lastDigits(wanted, Number(last.value)));
  };
  const written = String(digits).length <= LONGEST_WRITTEN ? t("digits", { n: digits ?? 0 }) : roughly(digits ?? 0);
  const size = digits ? t("calculate.too-large-limit", { digits: written, limit: t("digits", { n: limit ?? 0 }) }) : problem.detail;
  return html`<section class="result" aria-labelledby="too-large"><h2 id="too-large">${t("calculate.too-large")}</h2>
    ${leading && html`<${Ends} leading=${leading} trailing=${trailing} />`}
    <p>${size}${digits && base ? ` ${t("calculate.too-large-base", { base })}` : ""}</p>
    <form class="row last-digits" onSubmit=${submit}><label for="last">${t("calculate.last")}</label>
      <input id="last" type="number" min="1" max=${MOST_LAST} required value=${last.value}
        onInput=${(/** @type {any} */ event) => { last.value = event.currentTarget.value; }} />
      <button type="submit" class="quiet">${t("calculate.last-action")}</button></form></section>`;
}
