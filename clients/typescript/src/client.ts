import { digitsOf } from "./digits.js";
import { ProblemError } from "./errors.js";
import { type CalculationEvent, eventsOf } from "./events.js";
import {
  type Calculation, type HistoryItem, type ResultOf, type Summary, calculationOf, historyItemOf, summaryOf,
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

/** In another base an integer is text, so that with `base` the type of a result is wider. */
type ResultWith<O, P> = "base" extends keyof P ? ResultOf<O> | string : ResultOf<O>;

const BATCH_ITEMS = 1000; // in one request
const BATCH_BYTES = 900_000; // of one request's items; the service takes 1 MiB in all

/** A client of one service. */
export class Client {
  readonly #transport: Transport;
  readonly #retries: RetryPolicy;

  constructor(url: string, options: Login & { retries?: Partial<RetryPolicy>; fetch?: typeof fetch } = {}) {
    const { retries, fetch: fetcher = globalThis.fetch, ...login } = options;
    this.#retries = { ...DEFAULT_RETRIES, ...retries };
    this.#transport = new Transport(url, login, this.#retries, fetcher);
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
  fibonacci<P extends Options = object>(n: Operand, options?: P): Promise<Calculation<ResultWith<"fibonacci", P>>> {
    return this.calculate("fibonacci", { n }, options);
  }

  /** Calculate n!. */
  factorial<P extends Options = object>(n: Operand, options?: P): Promise<Calculation<ResultWith<"factorial", P>>> {
    return this.calculate("factorial", { n }, options);
  }

  /** Calculate x^y. */
  pow(x: Operand, y: Operand, options?: Options): Promise<Calculation<bigint | string>> {
    return this.calculate("pow", { x, y }, options);
  }

  /** Calculate any operation by its name, with its operands by name. */
  async calculate<O extends Operation, P extends Options = object>(
    operation: O, input: Record<string, Operand>, options?: P,
  ): Promise<Calculation<ResultWith<O, P>>> {
    const given: Options = options ?? {};
    const answer: Calculation = calculationOf(
      await this.#post("/calculations", { operation, input: texts(input), ...texts(without(given)) }, given),
    );
    return answer as Calculation<ResultWith<O, P>>;
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
    const encoder = new TextEncoder();
    let part: object[] = [];
    let size = 0;
    for (const { operation, input } of items) {
      const item = { operation, input: texts(input) };
      const bytes = encoder.encode(JSON.stringify(item)).length;
      if (part.length === BATCH_ITEMS || (part.length > 0 && size + bytes > BATCH_BYTES)) {
        yield* await this.#batch(part, options);
        [part, size] = [[], 0];
      }
      part.push(item);
      size += bytes;
    }
    if (part.length > 0) yield* await this.#batch(part, options);
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

  /** Yield calculations as they are recorded, from now on or behind an event; reconnects without a gap. */
  events(options: { lastEventId?: string; signal?: AbortSignal } = {}): AsyncGenerator<CalculationEvent, void, void> {
    return eventsOf(this.#transport, this.#retries, options.lastEventId, options.signal);
  }

  /**
   * Yield the digits of a recorded calculation in parts, without holding them all; a key needs `history:read`.
   *
   * After a cut they go on where they were. In the end their SHA-256 is checked; DigestMismatch is thrown if it differs.
   */
  digits(calculation: { id: string } | string, options: { signal?: AbortSignal } = {}): AsyncGenerator<string, void, void> {
    const id = typeof calculation === "string" ? calculation : calculation.id;
    return digitsOf(this.#transport, this.#retries, id, options.signal);
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
    const headers = { "Idempotency-Key": `"${randomKey()}"` };
    return this.#transport.json(path, { method: "POST", body, headers, signal });
  }
}

/** Return 128 random bits. Browsers have `crypto.randomUUID` only where a page came by https or from localhost. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
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
