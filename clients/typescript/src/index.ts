export { Client, type HistoryFilter, type Item, type Operand, type Operation, type Options } from "./client.js";
export { ProblemError } from "./errors.js";
export type { Calculation, Factor, HistoryItem, IntegerRoot, Result, Summary } from "./results.js";
export type { RetryPolicy } from "./retries.js";
export type { ProblemCode, components } from "./schema.js";
