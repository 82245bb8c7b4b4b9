export { Client, type HistoryFilter, type Item, type Operand, type Operation, type Options } from "./client.js";
export { DigestMismatch, ProblemError } from "./errors.js";
export type { CalculationEvent } from "./events.js";
export type { Calculation, Factor, HistoryItem, IntegerRoot, Result, ResultOf, Summary } from "./results.js";
export type { RetryPolicy } from "./retries.js";
export type { ProblemCode, components } from "./schema.js";
