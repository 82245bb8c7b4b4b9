// Lines of text as calculations: each an expression, or an operation with its operands, separated by commas.

import { t } from "../app.js";

const LONGEST_EXPRESSION = 10_000;
const OPTIONS = ["mod", "view", "precision", "base"];
const HEADING = /^"?(operation|expression)"?\s*(,|$)/i;

/** @typedef {{operation: string, input: Record<string, string>}} Item */
/** @typedef {{line: number, text: string, item?: Item, error?: string}} Row `error` says what is wrong with the line */
/** @typedef {Map<string, import("../calculate/operations.js").Parameter[]>} Operations */

/** The fields of a line of CSV. @param {string} line */
function fieldsOf(line) {
  const fields = line.match(/("(?:[^"]|"")*"|[^,]*)(,|$)/g) ?? [];
  if (!line.endsWith(",") && fields.at(-1) === "") fields.pop();
  return fields.map((field) => field.replace(/,$/, "").trim().replace(/^"([^]*)"$/, "$1").replaceAll('""', '"'));
}

/** What is wrong with the parentheses of an expression. @param {string} text */
function unbalanced(text) {
  let open = 0;
  for (const letter of text) {
    if (letter === "(") open += 1;
    else if (letter === ")" && (open -= 1) < 0) return t("batch.closes-nothing");
  }
  return open > 0 ? t("batch.not-closed") : "";
}

/** @param {string} name @param {string[]} values @param {import("../calculate/operations.js").Parameter[]} parameters @returns {{item: Item} | {error: string}} */
function ofOperation(name, values, parameters) {
  const operands = parameters.filter((one) => one.in === "path");
  /** @type {Record<string, string>} */
  const input = {};
  const plain = [];
  for (const value of values) {
    const [, option, rest] = /^([a-z]+)\s*=\s*(.*)$/.exec(value) ?? [];
    if (!option) plain.push(value);
    else if (OPTIONS.includes(option)) input[option] = rest;
    else return { error: t("batch.unknown-option", { option }) };
  }
  if (plain.length !== operands.length) {
    return { error: t("batch.wrong-count", { name, n: operands.length, names: operands.map((one) => one.name).join(", "), given: plain.length }) };
  }
  for (const [index, operand] of operands.entries()) {
    const value = plain[index].replace(/^(-?)10\^(\d+)$/, "$11e$2");
    if (operand.schema.pattern && value.length < 1_000 && !new RegExp(operand.schema.pattern).test(value)) {
      return { error: t("batch.no-literal", { name: operand.name, value: value.slice(0, 40) }) };
    }
    input[operand.name] = value;
  }
  return { item: { operation: name, input } };
}

/** @param {string} text @param {Operations} operations @returns {{item: Item} | {error: string}} */
function read(text, operations) {
  const fields = fieldsOf(text);
  const parameters = operations.get(fields[0]);
  if (fields[0] !== "evaluate" && parameters && fields.length > 1) return ofOperation(fields[0], fields.slice(1), parameters);
  if (fields.length > 1 && /^[a-z]\w*$/i.test(fields[0])) return { error: t("batch.unknown-operation", { name: fields[0].slice(0, 40) }) };
  const expression = fields.length === 1 || fields[0] === "evaluate" ? fields.at(-1) ?? "" : text;
  if (expression.length > LONGEST_EXPRESSION) return { error: t("calculate.too-many-characters", { n: LONGEST_EXPRESSION }) };
  const error = unbalanced(expression);
  return error ? { error } : { item: { operation: "evaluate", input: { expression } } };
}

/** The rows of a text; empty lines, comments (#) and a heading of CSV are left out. @param {string} text @param {Operations} operations */
export function parse(text, operations) {
  /** @type {Row[]} */
  const rows = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#") || (rows.length === 0 && HEADING.test(line))) continue;
    rows.push({ line: index + 1, text: line, ...read(line, operations) });
  }
  return rows;
}
