import { type Factor, factorsOf } from "./results.js";
import type { ProblemCode, components } from "./schema.js";

type Problem = components["schemas"]["Problem"];

/** The members that a problem of some types has beyond those of every problem. */
interface Members {
  "result-too-large": { limit: bigint; digits?: bigint; leading?: string; trailing?: string };
  "quota-exceeded": { quota: string; limit: number; used: number; resets_at: string };
  "payload-too-large": { limit: number };
  "computation-timeout": { found?: Factor[] };
}

type MembersOf<C> = C extends keyof Members ? Members[C] : unknown;

/** An error that the service answered (RFC 9457). `error.is("result-too-large")` tells its type and gives its members. */
export class ProblemError<C extends ProblemCode = ProblemCode> extends Error {
  override readonly name = "ProblemError";
  /** The last part of the problem's type, such as `domain-error`. */
  readonly code: C;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** What is invalid, for `validation-error`. */
  readonly errors: NonNullable<Problem["errors"]>;
  /** Every member of the problem. */
  readonly problem: Omit<Problem, keyof MembersOf<C>> & MembersOf<C>;
  /** Seconds after which to try again, where the service told them. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super(problem.detail);
    this.code = (problem.type.split("#")[1] ?? "internal-error") as C;
    this.status = problem.status;
    this.title = problem.title;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
    const members: Record<string, unknown> = { ...problem };
    if (this.code === "result-too-large") {
      for (const name of ["digits", "limit"]) {
        if (name in members) members[name] = BigInt(members[name] as string | number);
      }
    }
    if (Array.isArray(members["found"])) members["found"] = factorsOf(members["found"]);
    this.problem = members as unknown as this["problem"];
  }

  /** Whether the problem is of that type. */
  is<Wanted extends ProblemCode>(code: Wanted): this is ProblemError<Wanted> {
    return (this.code as ProblemCode) === code;
  }
}

/** The digits of a download are not those whose SHA-256 the service has recorded. */
export class DigestMismatch extends Error {
  override readonly name = "DigestMismatch";

  constructor(id: string) {
    super(`The digits of the calculation ${id} are not those that were recorded: download them again.`);
  }
}

/** Return the error of a response that is no success; an answer without a problem comes from a proxy. */
export async function errorOf(response: Response): Promise<ProblemError> {
  const text = await response.text();
  const retryAfter = retryAfterOf(response.headers);
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === "object" && problem !== null && "type" in problem && "detail" in problem) {
      return new ProblemError(problem as Problem, retryAfter);
    }
  } catch {
    // not JSON
  }
  const type = response.status === 503 ? "#unavailable" : "#internal-error";
  const moved = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
  const location = response.headers.get("Location"); // browsers hide it
  const detail = moved
    ? `The URL redirects${location === null ? "" : ` to ${location}`}: use the URL of the service itself.`
    : `The answer ${response.status} is no problem of pycalc.`;
  return new ProblemError({ type, title: response.statusText, status: response.status, detail, instance: "" }, retryAfter);
}

/** Return the seconds of a Retry-After. A date is compared with the answer's own Date, so that no clock has to be right. */
function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("Retry-After") ?? "";
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.parse(headers.get("Date") ?? "")) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}
