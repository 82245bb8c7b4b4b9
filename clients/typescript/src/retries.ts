import { ProblemError } from "./errors.js";

/** The bounds of retries. */
export interface RetryPolicy {
  /** How often a request is sent at most; 1: no retry. */
  attempts: number;
  /** The first wait in seconds, without a `Retry-After`; the following ones double up to 30 s. */
  firstWait: number;
  /** The longest wait in seconds; a longer `Retry-After` is an error at once. */
  longestWait: number;
}

export const DEFAULT_RETRIES: RetryPolicy = { attempts: 6, firstWait: 0.5, longestWait: 60 };

const LONGEST_BACKOFF_SECONDS = 30;

/** The attempts of one call. */
export class Retries {
  readonly #policy: RetryPolicy;
  readonly #signal: AbortSignal | undefined;
  #attempt = 1;

  constructor(policy: RetryPolicy, signal: AbortSignal | undefined) {
    this.#policy = policy;
    this.#signal = signal;
  }

  /** Count attempts anew, because a part of the answer has come. */
  progressed(): void {
    this.#attempt = 1;
  }

  /** Wait before the next attempt; throw the error if there is none. */
  async wait(error: unknown): Promise<void> {
    const attempt = this.#attempt++;
    const { attempts, firstWait, longestWait } = this.#policy;
    const backoff = Math.min(firstWait * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS);
    // Jitter keeps clients that failed together from returning together.
    const seconds = secondsToWait(error, backoff * (0.5 + Math.random() / 2));
    if (this.#signal?.aborted || attempt >= attempts || seconds === undefined || seconds > longestWait) throw error;
    await sleep(seconds, this.#signal);
  }
}

/** Call until it succeeds, fails for good, or the attempts are used up. */
export async function withRetries<T>(policy: RetryPolicy, signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
  const retries = new Retries(policy, signal);
  for (;;) {
    try {
      return await call();
    } catch (error) {
      await retries.wait(error);
    }
  }
}

/** Return how long to wait after a failure, by default `backoff`, or undefined where a retry would not help. */
function secondsToWait(error: unknown, backoff: number): number | undefined {
  if (error instanceof TypeError) return backoff; // how fetch reports a connection that failed
  if (!(error instanceof ProblemError)) return undefined;
  const { status, retryAfter } = error;
  if (status === 409) return retryAfter; // the first request with this key is still running
  const ofProxy = (status === 502 || status === 504) && error.is("internal-error"); // which got no answer
  return status === 429 || status === 503 || ofProxy ? (retryAfter ?? backoff) : undefined;
}

function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
