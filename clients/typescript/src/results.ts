import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** An integer is a bigint. A decimal, a fraction and a rounded number are the service's text, as JavaScript has no exact type for them. */
export type Result = bigint | string | boolean | Factor[] | IntegerRoot;
export interface Factor { prime: bigint; exponent: bigint }
export interface IntegerRoot { root: bigint; remainder: bigint }

/** The result of an operation, without `base`. */
export type ResultOf<O> =
  O extends "isprime" ? boolean : O extends "factorize" ? Factor[] : O extends "iroot" ? IntegerRoot : O extends "pow" ? bigint | string : bigint;

export type Calculation<R extends Result = Result> = Omit<Schemas["Calculation"], "result" | "digits"> & { result: R; digits: bigint };
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

/** Convert the factors of a number. */
export function factorsOf(factors: Schemas["PrimePower"][]): Factor[] {
  return factors.map(({ prime, exponent }) => ({ prime: BigInt(prime), exponent: BigInt(exponent) }));
}

function resultOf(answer: { input: object; exact: boolean }, result: Schemas["Calculation"]["result"]): Result {
  if (Array.isArray(result)) return factorsOf(result);
  if (typeof result === "object") return { root: BigInt(result.root), remainder: BigInt(result.remainder) };
  if (typeof result === "boolean") return result;
  const text = String(result);
  // A result in another base, or a rounded one, may look like an integer.
  return "base" in answer.input || !answer.exact || !INTEGER.test(text) ? text : BigInt(text);
}
