import { ProblemError, errorOf } from "./errors.js";
import { type RetryPolicy, withRetries } from "./retries.js";
import type { components } from "./schema.js";

type Session = components["schemas"]["Session"];

/** An API key, or a user's name and password, or nothing (to register). */
export type Login = { apiKey?: string } | { username: string; password: string; totp?: string };

export interface Call {
  method?: string;
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Sends requests with credentials, and repeats those that may be repeated. */
export class Transport {
  readonly #url: string;
  readonly #login: Login;
  readonly #retries: RetryPolicy;
  readonly #fetch: typeof fetch;
  #session: Promise<Session> | undefined;

  constructor(url: string, login: Login, retries: RetryPolicy, fetcher: typeof fetch) {
    requireUrl(url);
    if ("apiKey" in login && login.apiKey !== undefined) requireKey(login.apiKey);
    this.#url = url.replace(/\/+$/, "");
    this.#login = login;
    this.#retries = retries;
    this.#fetch = fetcher;
  }

  /** Return the JSON of a call that changes nothing, or that its `Idempotency-Key` makes safe to repeat. */
  async json<T>(path: string, call: Call = {}): Promise<T> {
    // The body is read within the attempt: a connection may be cut in the middle of it.
    return withRetries(this.#retries, call.signal, async () => (await (await this.send(path, call)).json()) as T);
  }

  /** Send once and return a successful response; a refused access token is renewed once. */
  async send(path: string, call: Call = {}): Promise<Response> {
    const login = this.#login;
    if (!("username" in login)) return this.#request(path, call, login.apiKey ?? "");
    // Kept as a promise, so that parallel calls share one login.
    const opened = (this.#session ??= this.#kept(this.#opened(login)));
    const session = await unlessAborted(opened, call.signal); // a refused login is final
    try {
      return await this.#request(path, call, session.access_token);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
    }
    // Unless another call has renewed it.
    if (this.#session === opened) this.#session = this.#kept(this.#refreshed(session, login), opened);
    const renewed = await unlessAborted((this.#session ??= this.#kept(this.#opened(login))), call.signal);
    return this.#request(path, call, renewed.access_token);
  }

  /** Send without credentials, once. */
  anonymous(path: string, body: unknown): Promise<Response> {
    return this.#request(path, { method: "POST", body }, "");
  }

  /** End the session of a password; an API key has none. */
  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined);
    this.#session = undefined;
    if (!session) return;
    const logOut = ({ access_token }: Session) => this.#request("/logout", { method: "POST" }, access_token);
    try {
      // A session outlives its access token.
      await logOut(session).catch(async (error: unknown) => {
        if (!isUnauthorized(error)) throw error;
        await logOut(await this.#renewed(session));
      });
    } catch (error) {
      if (!isUnauthorized(error)) throw error; // otherwise the session has ended already
    }
  }

  async #opened(login: object): Promise<Session> {
    return (await (await this.anonymous("/login", login)).json()) as Session;
  }

  /** Exchange the refresh token, which needs no new code of a second factor; log in where the session has ended. */
  async #refreshed(session: Session, login: object): Promise<Session> {
    try {
      return await this.#renewed(session);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      return this.#opened(login);
    }
  }

  async #renewed(session: Session): Promise<Session> {
    return (await (await this.anonymous("/token/refresh", { refresh_token: session.refresh_token })).json()) as Session;
  }

  /** Forget a session that could not be opened, or not be refreshed from `old`, so that the next call tries again. */
  #kept(session: Promise<Session>, old?: Promise<Session>): Promise<Session> {
    session.catch((error: unknown) => {
      if (this.#session !== session) return;
      // A service that is busy has not used the refresh token; one whose answer was lost may have.
      const busy = error instanceof ProblemError && (error.status === 429 || error.status === 503);
      this.#session = busy ? old : undefined;
    });
    return session;
  }

  async #request(path: string, call: Call, token: string): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const headers: Record<string, string> = { Accept: "application/json", ...call.headers };
    if (token) headers["Authorization"] = `Bearer ${token}`;
    // fetch follows a redirect without the token, and some as a GET without the body.
    const init: RequestInit = { method: call.method ?? "GET", headers, redirect: "manual" };
    if (call.signal) init.signal = call.signal;
    if (call.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(call.body);
    }
    const fetcher = this.#fetch; // as a method of this object it would be an illegal invocation in browsers
    const response = await fetcher(this.#url + path + (query.size ? `?${query}` : ""), init);
    if (!response.ok) throw await errorOf(response);
    return response;
  }
}

/** Throw unless it is the URL of an HTTP service; in a page it may be relative. fetch would throw at each attempt. */
function requireUrl(text: string): void {
  let protocol = "";
  try {
    ({ protocol } = new URL(text, globalThis.location?.href));
  } catch {
    // no URL
  }
  if (protocol !== "http:" && protocol !== "https:") {
    throw new RangeError("the URL must be like http://127.0.0.1:8080: scheme, host, and the port if it is another");
  }
}

/** Throw unless a header field can carry the API key. */
function requireKey(text: string): void {
  if (!/^[!-~]+$/.test(text)) {
    throw new RangeError("apiKey must be ASCII characters without a space: perhaps it ends in a line break");
  }
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof ProblemError && error.status === 401;
}

/** Wait for what several calls wait for, such as a login, until the signal of this call aborts. */
function unlessAborted<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return shared;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
