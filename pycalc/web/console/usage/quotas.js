// What is left of the caller's quotas and rate limits.

import { html } from "../../vendor/preact.js";
import { number, t, when } from "../app.js";
import { bytesText } from "../parts/bytes.js";

/** @typedef {{name: string, limit: number, used: number, window: number, resets_at: string}} Quota */

/** An amount of a quota in words. @param {string} name @param {number} amount */
function amountText(name, amount) {
  if (name.endsWith("compute")) return number(amount, { style: "unit", unit: "second", maximumFractionDigits: 1 });
  return name.endsWith("digits") ? bytesText(amount) : number(amount);
}

/** The rate limits of an answer's RateLimit fields, in the form of quotas; those that the body has are left out.
 * @param {Headers} headers @returns {Quota[]} */
export function rateLimits(headers) {
  const parts = (/** @type {string} */ name) => new Map((headers.get(name) ?? "").split(", ").map((item) => {
    const [quoted, ...members] = item.split(";");
    return [quoted.replaceAll('"', ""), Object.fromEntries(members.map((member) => member.split("=")))];
  }));
  const now = parts("RateLimit");
  return [...parts("RateLimit-Policy")].filter(([, { qu }]) => qu === undefined).map(([name, { q, w }]) => ({
    name, limit: Number(q), used: Number(q) - Number(now.get(name)?.r ?? q), window: Number(w),
    resets_at: new Date(Date.now() + 1000 * Number(now.get(name)?.t ?? 0)).toISOString(),
  }));
}

/** @param {{quotas: Quota[]}} props */
export function Quotas({ quotas }) {
  if (quotas.length === 0) return html`<p class="empty">${t("usage.no-quotas")}</p>`;
  return html`<ul class="quotas">${quotas.map(({ name, limit, used, resets_at: end }) => {
    const known = t(`quota.${name}`);
    const title = known.startsWith("quota.") ? name : known; // a window of the operator's choice, such as "2 hours"
    const share = Math.min(1, used / limit);
    return html`<li key=${name}><div class="row"><strong>${title}</strong><span class="spring"></span>
        <span class=${share >= 0.9 ? "chip warn" : "chip"}>${number(1 - share, { style: "percent" })} ${t("usage.left")}</span></div>
      <meter min="0" max="1" low="0.75" high="0.9" optimum="0" value=${share} aria-label=${title}></meter>
      <p class="hint">${[t("usage.used-of", { used: amountText(name, used), limit: amountText(name, limit) }),
        t("usage.resets", { time: when(end, { timeStyle: "short" }) })].join(" · ")}</p></li>`;
  })}</ul>`;
}
