import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** An integer is a bigint. A decimal, a fraction and a rounded number are the service's text, as JavaScript has no exact type for them. */
export type Result = bigint | string | boolean | Factor[] | IntegerRoot;
export interface Factor { prime: bigint; exponent: bigint }
export interface IntegerRoot { root: bigint; remainder: bigint }

export type Calculation = Omit<Schemas["Calculation"], "result" | "digits"> & { result: Result; digits: bigint };
export type Summary = Omit<Schemas["Summary"], "digits"> & { digits: bigint };
export type HistoryItem = Omit<Schemas["HistoryItem"], "result" | "digits"> & { result: Result | null; digits: bigint };

const INTEGER = /^-?[0-9]+$/;

/** Convert the members of a calculation that are integers. */
export function calculationOf(answer: Schemas["Calculation"]): Calculation {
  return { ...answer, digits: BigInt(answer.digits), result: resultOf(answer, answer.result) };
}

/** Convert the digit count of a summary. */
export function summaryOf(answer: Schemas["Summary"]): Summary {
  return { ...answer, digits: BigInt(answer.digits) };
}

/** Convert the members of a history item that are integers; the result of a long one is null. */
export function historyItemOf(item: Schemas["HistoryItem"]): HistoryItem {
  const { result } = item;
  const converted = result === null || result === undefined ? null : resultOf(item, result);
  return { ...item, digits: BigInt(item.digits), result: converted };
}

function resultOf(answer: { input: object; exact: boolean }, result: Schemas["Calculation"]["result"]): Result {
  if (Array.isArray(result)) {
    return result.map(({ prime, exponent }) => ({ prime: BigInt(prime), exponent: BigInt(exponent) }));
  }
  if (typeof result === "object") return { root: BigInt(result.root), remainder: BigInt(result.remainder) };
  if (typeof result === "boolean") return result;
  const text = String(result);
  // A result in another base, or a rounded one, may look like an integer.
  return "base" in answer.input || !answer.exact || !INTEGER.test(text) ? text : BigInt(text);
}
