// Results on the page. They are shown as they came: numbers within ±(2^53 - 1) and strings, never parsed or rounded.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

const LONGEST_SHOWN = 10_000;
const END_SHOWN = 500;

/** @param {string} digits @param {number} size @param {number} first */
function cut(digits, size, first = size) {
  const groups = [digits.slice(0, first)];
  for (let at = first; at < digits.length; at += size) groups.push(digits.slice(at, at + size));
  return groups.filter((group) => group !== "");
}

/** The groups in which digits are easiest to read: short integers by thousands, long ones by tens. @param {string} text */
function groupsOf(text) {
  if (!/^-?\d+$/.test(text)) return /^-?[\d.]+$/.test(text) ? cut(text, 10) : [text];
  const digits = text.replace("-", "");
  const sign = text.startsWith("-") ? ["-"] : [];
  return [...sign, ...(digits.length <= 60 ? cut(digits, 3, digits.length % 3) : cut(digits, 10))];
}

/** Digits in groups. The gaps are margins, not characters: selecting and copying yields the bare digits. @param {string} text */
function block(text) {
  return html`<div class="digits">${groupsOf(text).map((group) => html`<span class=${group === "-" ? "sign" : "group"}>${group}</span><wbr />`)}</div>`;
}

/** A result as text: prime factors as a product, a root with its remainder. @param {any} result */
export function textOf(result) {
  if (result?.root !== undefined) return `${result.root}, ${t("result.remainder")} ${result.remainder}`;
  if (!Array.isArray(result)) return String(result);
  return result.map(({ prime, exponent }) => (exponent > 1 ? `${prime}^${exponent}` : `${prime}`)).join(" × ") || "1";
}

/** A number: whole, or its first and last digits if it is very long. @param {{text: string}} props */
export function Digits({ text }) {
  if (text.length <= LONGEST_SHOWN) return block(text);
  return html`${block(text.slice(0, END_SHOWN))}
    <p class="omitted">${t("calculate.omitted", { n: text.length - 2 * END_SHOWN })}</p>${block(text.slice(-END_SHOWN))}`;
}

/** The ends of a number of which no more is known. @param {{leading: string, trailing: string}} props */
export function Ends({ leading, trailing }) {
  return html`<div class="digits">${leading}<span class="gap">…</span>${trailing}</div>`;
}
