import { digitsOf } from "./digits.js";
import { ProblemError } from "./errors.js";
import {
  type Calculation, type HistoryItem, type Summary, calculationOf, historyItemOf, summaryOf,
} from "./results.js";
import { DEFAULT_RETRIES, type RetryPolicy } from "./retries.js";
import type { components } from "./schema.js";
import { type Login, Transport } from "./transport.js";

type Schemas = components["schemas"];

/** A number is exact only within ±(2^53 - 1): pass a bigint or a string for more. */
export type Operand = bigint | number | string;
export type Operation = Schemas["CalculationRequest"]["operation"];
export interface Options { mod?: Operand; precision?: Operand; base?: Operand; signal?: AbortSignal }
export interface Item { operation: Operation | "evaluate"; input: Record<string, Operand> }
export interface HistoryFilter { operation?: string; since?: Date; until?: Date; user?: string; limit?: number; signal?: AbortSignal }

const BATCH_ITEMS = 1000;

/** A client of one service. */
export class Client {
  readonly #transport: Transport;

  constructor(url: string, options: Login & { retries?: Partial<RetryPolicy>; fetch?: typeof fetch } = {}) {
    const { retries, fetch: fetcher = globalThis.fetch, ...login } = options;
    this.#transport = new Transport(url, login, { ...DEFAULT_RETRIES, ...retries }, fetcher);
  }

  /** Make an account. It is not repeated after a failure: whether it was made is not known then. */
  async register(username: string, email: string, password: string): Promise<Schemas["Account"]> {
    return (await (await this.#transport.anonymous("/register", { username, email, password })).json()) as Schemas["Account"];
  }

  /** Make an API key, which is shown this once. Not repeated after a failure. */
  async createApiKey(name: string, options: Omit<Partial<Schemas["KeyRequest"]>, "name"> = {}): Promise<Schemas["CreatedApiKey"]> {
    const response = await this.#transport.send("/me/keys", { method: "POST", body: { name, ...options } });
    return (await response.json()) as Schemas["CreatedApiKey"];
  }

  /** Calculate F(n). */
  fibonacci(n: Operand, options?: Options): Promise<Calculation> {
    return this.calculate("fibonacci", { n }, options);
  }

  /** Calculate n!. */
  factorial(n: Operand, options?: Options): Promise<Calculation> {
    return this.calculate("factorial", { n }, options);
  }

  /** Calculate x^y. */
  pow(x: Operand, y: Operand, options?: Options): Promise<Calculation> {
    return this.calculate("pow", { x, y }, options);
  }

  /** Calculate any operation by its name, with its operands by name. */
  async calculate(operation: Operation, input: Record<string, Operand>, options: Options = {}): Promise<Calculation> {
    return calculationOf(await this.#post("/calculations", { operation, input: texts(input), ...texts(without(options)) }, options));
  }

  /** Return the digit count and both ends of a result, without the value, for operands of up to 10^18. */
  async summarize(operation: Operation, input: Record<string, Operand>, options: Options = {}): Promise<Summary> {
    const body = { operation, input: texts(input), ...texts(without(options)), view: "summary" };
    return summaryOf(await this.#post("/calculations", body, options));
  }

  /** Evaluate an expression, such as `3^(10^12) mod 10^20`. */
  async evaluate(expression: string, options: { precision?: number; base?: number; signal?: AbortSignal } = {}): Promise<Calculation> {
    return calculationOf(await this.#post("/evaluate", { expression, ...without(options) }, options));
  }

  /** Calculate any number of items, in order; one that fails is a ProblemError in its place. */
  async *batch(items: Iterable<Item>, options: { signal?: AbortSignal } = {}): AsyncGenerator<Calculation | Summary | ProblemError, void, void> {
    let part: object[] = [];
    for (const item of items) {
      part.push({ operation: item.operation, input: texts(item.input) });
      if (part.length === BATCH_ITEMS) {
        yield* await this.#batch(part, options);
        part = [];
      }
    }
    if (part.length) yield* await this.#batch(part, options);
  }

  /** Yield the history, newest first; it pages by itself. */
  async *history(filter: HistoryFilter = {}): AsyncGenerator<HistoryItem, void, void> {
    const { since, until, signal, limit, ...rest } = filter;
    const query = { ...rest, limit, since: since?.toISOString(), until: until?.toISOString() };
    let cursor: string | undefined;
    do {
      const page: Schemas["HistoryPage"] = await this.#transport.json("/secure-history", { query: { ...query, cursor }, signal });
      yield* page.items.map(historyItemOf);
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Yield the digits of a recorded calculation in parts, without holding them all; a key needs `history:read`. */
  digits(calculation: { id: string } | string, options: { signal?: AbortSignal } = {}): AsyncGenerator<string, void, void> {
    return digitsOf(this.#transport, typeof calculation === "string" ? calculation : calculation.id, options.signal);
  }

  /** End the session that a password opened. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  async #batch(operations: object[], options: { signal?: AbortSignal }): Promise<(Calculation | Summary | ProblemError)[]> {
    const { results }: Schemas["BatchResults"] = await this.#post("/batch", { operations }, options);
    return results.map((result) => {
      if ("status" in result) return new ProblemError(result);
      return "result" in result ? calculationOf(result) : summaryOf(result);
    });
  }

  #post<T>(path: string, body: unknown, { signal }: { signal?: AbortSignal }): Promise<T> {
    // One key for all attempts: a repeated request is recorded and charged once.
    const headers = { "Idempotency-Key": `"${crypto.randomUUID()}"` };
    return this.#transport.json(path, { method: "POST", body, headers, signal });
  }
}

function without<T extends { signal?: AbortSignal }>({ signal: _, ...rest }: T): Omit<T, "signal"> {
  return rest;
}

/** Write operands as text, because JSON has no bigint. Throws RangeError for an integer that JavaScript may have rounded. */
function texts(input: object): Record<string, string> {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined).map(([name, value]) => {
    if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw new RangeError(`${name} is beyond 2^53, where a number is rounded: pass a bigint or a string`);
    }
    return [name, String(value)];
  }));
}
