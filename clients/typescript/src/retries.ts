import { ProblemError } from "./errors.js";

/** The bounds of retries. */
export interface RetryPolicy {
  /** How often a request is sent at most; 1: no retry. */
  attempts: number;
  /** The longest wait in seconds; a longer `Retry-After` is an error at once. */
  longestWait: number;
}

export const DEFAULT_RETRIES: RetryPolicy = { attempts: 5, longestWait: 60 };

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
    const seconds = secondsToWait(error, attempt);
    const { attempts, longestWait } = this.#policy;
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

/** Return how long to wait after a failure, or undefined where a retry would not help. */
function secondsToWait(error: unknown, attempt: number): number | undefined {
  // Waits double from 0.2 s to 10 s; jitter keeps clients that failed together from returning together.
  const wait = Math.min(0.1 * 2 ** attempt, 10) * (0.5 + Math.random() / 2);
  if (error instanceof TypeError) return wait; // how fetch reports a connection that failed
  if (!(error instanceof ProblemError)) return undefined;
  const { status, retryAfter } = error;
  if (status === 409) return retryAfter; // the first request with this key is still running
  const ofProxy = (status === 502 || status === 504) && error.is("internal-error"); // which got no answer
  return status === 429 || status === 503 || ofProxy ? (retryAfter ?? wait) : undefined;
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
