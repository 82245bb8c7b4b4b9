// The running calculation: its phase, and a button to stop it.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { duration, number, t } from "../app.js";
import { cancel, state } from "../pages/calculate.js";
import { timeLimit } from "./preview.js";

/** @param {number} bytes */
export const megabytes = (bytes) => number(bytes / 1e6, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });

/** How much of `total` bytes is there; `total` is 0 where that is not known. @param {number} done @param {number} total */
export const received = (done, total) => (total > 0
  ? t("calculate.receiving", { done: megabytes(done), total: megabytes(total) }) : t("calculate.receiving-some", { done: megabytes(done) }));

export function Progress() {
  const now = useSignal(performance.now());
  const { phase, started = 0, done = 0, total = 0 } = state.value;
  const running = phase !== "idle";
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(() => { now.value = performance.now(); }, 100);
    return () => clearInterval(timer);
  }, [running]);
  if (!running) return null;
  const ms = Math.max(0, Math.round((now.value - started) / 100) * 100);
  const [time, limit] = [duration(ms), timeLimit.value * 1000];
  // The service starts its limit when a worker takes the computation, so what takes longer has waited for its turn.
  const computing = limit === 0 ? t("calculate.computing", { time }) : ms <= limit
    ? t("calculate.computing-of", { time, limit: duration(limit) }) : t("calculate.queued", { time });
  const stop = () => {
    cancel();
    /** @type {HTMLElement | null} */ (document.querySelector("#main form [type=submit]"))?.focus();
  };
  return html`<div class="progress"><progress max="1" value=${total > 0 ? done / total : undefined} aria-label=${t("app.loading")} />
    <span class="hint">${phase === "computing" ? computing : received(done, total)}</span>
    <button type="button" class="quiet" onClick=${stop}>${t("app.cancel")}</button></div>`;
}
