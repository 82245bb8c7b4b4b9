// An error as the service explains it, with the way on: what to change, when to come back, where to read more.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";

/** Whole seconds that are left of `seconds`, counted down. @param {number | null} seconds @param {unknown} origin */
export function useCountdown(seconds, origin) {
  const left = useSignal(seconds ?? 0);
  useEffect(() => {
    const end = Date.now() + (seconds ?? 0) * 1000;
    left.value = seconds ?? 0;
    if (!seconds) return undefined;
    const timer = setInterval(() => {
      left.value = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      if (left.value === 0) clearInterval(timer);
    }, 250);
    return () => clearInterval(timer);
  }, [origin]);
  return left.value;
}

/** Its title in words: the service's own, or ours where the service did not answer. @param {import("../api.js").Problem} problem */
export function titleOf(problem) {
  if (problem.status === 0) return t(`problem.${problem.code}`);
  return problem.title || t("problem.status", { status: String(problem.status) });
}

/**
 * @param {{problem: import("../api.js").Problem, onRetry?: () => void}} props `onRetry` offers to try again, once the
 *   time that the service asked for is over
 */
export function ErrorCard({ problem, onRetry }) {
  const left = useCountdown(problem.retryAfter, problem);
  const repeated = problem.errors.some(({ detail }) => detail === problem.detail);
  const detail = problem.status === 0 ? t(`problem.${problem.code}-detail`) : repeated ? "" : problem.detail;
  const link = /^\/docs\/problems#[\w-]+$/.test(problem.type) ? problem.type : "";
  return html`<div class="error-card" role="alert">
    <p class="error-title">${titleOf(problem)}</p>
    ${detail && html`<p>${detail}</p>`}
    ${problem.errors.length > 0 && html`<ul>${problem.errors.map(({ pointer, detail: what }) => html`
      <li>${pointer && html`<code>${pointer}</code> `}${what}</li>`)}</ul>`}
    <div class="row">
      ${problem.retryAfter !== null && html`<span class="countdown" aria-live="off">${left > 0
        ? t("problem.wait", { n: left }) : t("problem.now")}</span>`}
      ${onRetry && html`<button type="button" class="quiet" disabled=${left > 0} onClick=${onRetry}>${t("app.again")}</button>`}
      ${link && html`<a href=${link}>${t("problem.more")}</a>`}
    </div></div>`;
}
