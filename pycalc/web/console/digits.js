// Results on the page. They are shown as they came: numbers within ±(2^53 - 1) and strings, never parsed or rounded.

import { element } from "./dom.js";

/** Beyond this many characters only the two ends are put on the page. */
export const LONGEST_SHOWN = 10_000;
const END_SHOWN = 500;

function cut(digits, size, first = size) {
  const groups = [digits.slice(0, first)];
  for (let at = first; at < digits.length; at += size) groups.push(digits.slice(at, at + size));
  return groups.filter((group) => group !== "");
}

/** The groups in which digits are easiest to read: short integers by thousands, long ones by tens. */
function groupsOf(text) {
  if (!/^-?\d+$/.test(text)) return cut(text, 10);
  const digits = text.replace("-", "");
  const sign = text.startsWith("-") ? ["-"] : [];
  return [...sign, ...(digits.length <= 60 ? cut(digits, 3, digits.length % 3) : cut(digits, 10))];
}

/** Digits in groups. The gaps are margins, not characters: selecting and copying yields the bare digits. */
function block(text) {
  const node = element("div", { class: "digits" });
  for (const group of groupsOf(text)) {
    node.append(element("span", { class: group === "-" ? "sign" : "group" }, group), element("wbr"));
  }
  return node;
}

/** A result as text: prime factors as a product, a root with its remainder, everything else as it stands. */
export function textOf(result) {
  if (result?.root !== undefined) return `${result.root}, remainder ${result.remainder}`;
  if (!Array.isArray(result)) return String(result);
  return result.map(({ prime, exponent }) => (exponent > 1 ? `${prime}^${exponent}` : `${prime}`)).join(" × ") || "1";
}

/** Why a result is not exact, in a word. */
export const reasonOf = ({ result }) => (result?.root === undefined ? "rounded" : "remainder");

/** A number for the page: whole, or its first and last digits if it is very long. */
export function showDigits(text, omittedLabel) {
  if (text.length <= LONGEST_SHOWN) return [block(text)];
  return [
    block(text.slice(0, END_SHOWN)),
    element("p", { class: "omitted" }, omittedLabel(text.length - 2 * END_SHOWN)),
    block(text.slice(-END_SHOWN)),
  ];
}

/** The ends of a result of which the service told no more; a short result is all in its leading digits. */
export function showEnds({ digits, leading, trailing }) {
  if (digits <= leading.length) return [block(leading)];
  return [element("div", { class: "digits" }, leading, element("span", { class: "gap" }, "…"), trailing)];
}
