// The comparison of two values: whether they are the same, and else where they differ first.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Problem } from "../api.js";
import { Dialog } from "../parts/dialog.js";
import { ErrorCard } from "../parts/error-card.js";
import { notation } from "../parts/notation.js";
import { valueOf } from "./item.js";

const AROUND = 20;

/** The place of the first difference; -1 if there is none. @param {string} a @param {string} b */
export function firstDifference(a, b) {
  if (a === b) return -1;
  let low = 0; // the first `low` characters are the same
  let high = Math.min(a.length, b.length);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (a.slice(low, middle) === b.slice(low, middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** @param {{text: string, at: number}} props */
function Around({ text, at }) {
  const start = Math.max(0, at - AROUND);
  return html`<p class="mono wide">${start > 0 && "…"}${text.slice(start, at)}<mark>${text.slice(at, at + 1) || "∎"}</mark>${text.slice(at + 1, at + AROUND)}${at + AROUND < text.length && "…"}</p>`;
}

/** @param {{pair: import("./item.js").Item[], onClose: () => void}} props */
export function Comparison({ pair, onClose }) {
  const texts = useSignal(/** @type {(string | null)[] | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  useEffect(() => {
    const stop = new AbortController();
    Promise.all(pair.map((item) => valueOf(item, stop.signal))).then(
      (both) => { texts.value = both; },
      (error) => { if (error instanceof Problem) problem.value = error; else if (!stop.signal.aborted) throw error; },
    );
    return () => stop.abort();
  }, []);
  const [a, b] = texts.value ?? [];
  const at = typeof a === "string" && typeof b === "string" ? firstDifference(a, b) : null;
  return html`<${Dialog} title=${t("history.compare")} onClose=${onClose}>
    <ol class="compared">${pair.map(({ id, operation, input }) => html`<li key=${id} class="mono">${notation(operation, input, 120)}</li>`)}</ol>
    ${problem.value && html`<${ErrorCard} problem=${problem.value} />`}
    ${!texts.value && !problem.value && html`<div class="skeleton" aria-busy="true" aria-label=${t("app.loading")}></div>`}
    <div role="status">${texts.value && (at === null ? t("history.no-value") : at < 0 ? t("history.same", { n: a?.length ?? 0 })
      : t("history.differ", { n: at + 1 }))}</div>
    ${at !== null && at >= 0 && [a, b].map((text, index) => html`<${Around} key=${index} text=${text} at=${at} />`)}<//>`;
}
