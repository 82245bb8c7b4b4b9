// The digit viewer: every digit of a recorded result, to scroll through, search, check, copy and download.

import { html, useEffect, useRef, useSignal } from "../../vendor/preact.js";
import { announce, number, t } from "../app.js";
import { request, requestJson } from "../api.js";
import { received } from "../calculate/progress.js";
import { lengthOf, textOf } from "../calculation.js";
import { CopyButton, saveBlob } from "../parts/clipboard.js";
import { ErrorCard } from "../parts/error-card.js";
import { attempt } from "../parts/loaded.js";
import { Digest, Histogram } from "./facts.js";
import { Rows } from "./rows.js";

const GROUPS = [3, 5, 10, 20];
const NOTHING = { pattern: "", hits: new Uint32Array(0), length: 0, current: -1, capped: false };

/** The digits: those that are at hand, or else the service's, fetched once. @param {string} id @param {string} [text] */
function useDigits(id, text) {
  const digits = useSignal(text);
  const told = useSignal("");
  const problem = useSignal(/** @type {import("../api.js").Problem | null} */ (null));
  const recorded = useSignal(/** @type {string | null | undefined} */ (undefined));
  const load = async (/** @type {AbortSignal} */ signal) => {
    problem.value = null;
    if (digits.value === undefined) {
      const answer = await request(`/calculations/${id}/digits`, { accept: "text/plain", signal });
      const total = lengthOf(answer);
      digits.value = await textOf(answer, (done) => { told.value = received(done, total); });
    }
    recorded.value = (await requestJson(`/calculations/${id}`, { signal })).sha256 ?? null;
  };
  return { digits, told, problem, recorded, load };
}

/** @param {{id: string, name: string, text?: string}} props `id` is the calculation's, `name` that of the file for a download */
export function DigitViewer({ id, name, text }) {
  const { digits, told, problem, recorded, load } = useDigits(id, text);
  const group = useSignal(10);
  const goal = useSignal({ at: 0 });
  const facts = useSignal(/** @type {{histogram: number[], sha256: string | null} | null} */ (null));
  const search = useSignal(NOTHING);
  const worker = useRef(/** @type {Worker | null} */ (null));
  const tries = useSignal(0);
  useEffect(() => {
    const stop = new AbortController();
    const found = attempt(() => load(stop.signal), (error) => { problem.value = error; });
    found.catch((error) => { if (!stop.signal.aborted) throw error; });
    return () => stop.abort();
  }, [id, tries.value]);
  const visit = (/** @type {number} */ index) => {
    const { hits } = search.value;
    if (hits.length === 0) return;
    const current = (index + hits.length) % hits.length;
    search.value = { ...search.value, current };
    goal.value = { at: hits[current] };
    announce(t("viewer.hit", { n: current + 1, of: hits.length, at: hits[current] + 1 }));
  };
  const whole = digits.value;
  useEffect(() => {
    if (whole === undefined) return undefined;
    const made = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.current = made;
    made.onmessage = ({ data }) => {
      if (data.facts) facts.value = data.facts;
      else {
        search.value = { pattern: data.pattern, hits: data.hits, length: data.pattern.length, current: -1, capped: data.capped };
        if (data.hits.length > 0) visit(0);
        else announce(t("viewer.no-hits", { pattern: data.pattern }));
      }
    };
    made.postMessage({ digits: whole });
    return () => made.terminate();
  }, [whole]);
  if (problem.value) return html`<${ErrorCard} problem=${problem.value} onRetry=${() => { tries.value += 1; }} />`;
  if (whole === undefined) return html`<div class="progress"><progress aria-label=${t("app.loading")} /><span class="hint">${told.value}</span></div>`;
  const go = (/** @type {any} */ event) => {
    event.preventDefault();
    const at = Number(event.currentTarget.elements.position.value.replace(/\D/g, ""));
    goal.value = { at: Math.max(0, Math.min(whole.length, at) - 1) };
    announce(t("viewer.at", { at: goal.value.at + 1, digits: whole.slice(goal.value.at, goal.value.at + 10) }));
  };
  const find = (/** @type {any} */ event) => {
    event.preventDefault();
    const pattern = event.currentTarget.elements.pattern.value.replace(/[^\d.-]/g, "");
    if (pattern === "") search.value = NOTHING;
    else if (pattern === search.value.pattern) visit(search.value.current + 1);
    else worker.current?.postMessage({ pattern });
  };
  const { hits, current, pattern, capped } = search.value;
  const status = pattern === "" ? "" : hits.length === 0 ? t("viewer.no-hits", { pattern })
    : t(capped ? "viewer.hits-capped" : "viewer.hits", { n: current + 1, of: hits.length });
  return html`<section class="card viewer" aria-label=${t("viewer.title")}>
    <div class="row"><form class="row" role="search" onSubmit=${find}>
        <input name="pattern" class="mono" inputmode="numeric" autocomplete="off" aria-label=${t("viewer.search")} placeholder=${t("viewer.search")} />
        <button type="submit" class="quiet">${t("viewer.find")}</button>
        ${hits.length > 1 && html`<button type="button" class="quiet" aria-label=${t("viewer.previous")} onClick=${() => visit(current - 1)}>↑</button>
          <button type="button" class="quiet" aria-label=${t("viewer.next")} onClick=${() => visit(current + 1)}>↓</button>`}
        <span class="hint">${status}</span></form><span class="spring"></span>
      <form class="row" onSubmit=${go}><input name="position" inputmode="numeric" autocomplete="off" required
          aria-label=${t("viewer.position")} placeholder=${t("viewer.position")} /><button type="submit" class="quiet">${t("viewer.go")}</button></form>
      <label class="row"><span class="hint">${t("viewer.group")}</span><select value=${group.value}
        onChange=${(/** @type {any} */ event) => { group.value = Number(event.currentTarget.value); }}>
        ${GROUPS.map((size) => html`<option key=${size} value=${size}>${number(size)}</option>`)}</select></label></div>
    <${Rows} text=${whole} group=${group.value} label=${t("viewer.rows", { n: whole.length })} goal=${goal.value} search=${search.value} />
    <div class="row">${facts.value && html`<${Digest} sha256=${facts.value.sha256} recorded=${recorded.value} />`}<span class="spring"></span>
      ${text === undefined && html`<${CopyButton} text=${() => whole} />
        <button type="button" class="quiet" onClick=${() => saveBlob(new Blob([whole], { type: "text/plain" }), name)}>${t("app.download")}</button>`}</div>
    ${facts.value && html`<details><summary>${t("viewer.histogram")}</summary><${Histogram} counts=${facts.value.histogram} /></details>`}
  </section>`;
}
