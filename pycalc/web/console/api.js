// Requests to the service: the session's tokens, their renewal, deadlines, and errors as problems (RFC 9457).

const MARK = "pycalc.signed-in";
const DEADLINE_MS = 20_000;
/** The channel on which tabs tell each other of signing in and out. */
export const TABS = "pycalc.session";

/** @typedef {{method?: string, json?: unknown, body?: BodyInit, accept?: string, headers?: Record<string, string>,
 *   signal?: AbortSignal, deadline?: number, cookie?: boolean}} Options `deadline` in ms, 0 for none */

/** An answer that is not 2xx, or none at all: then `status` is 0 and `code` "unreachable", "timeout" or "unusable". */
export class Problem extends Error {
  /** @param {number} status @param {Record<string, any>} members @param {number | null} [retryAfter] seconds */
  constructor(status, members, retryAfter = null) {
    super(members.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = String(members.code ?? members.type?.split("#")[1] ?? "");
    this.type = String(members.type ?? "");
    this.title = String(members.title ?? "");
    this.detail = String(members.detail ?? "");
    /** @type {{pointer: string, detail: string, position?: number}[]} */
    this.errors = Array.isArray(members.errors) ? members.errors : [];
    this.members = members;
    this.retryAfter = retryAfter;
  }
}

/**
 * The result of `use`, which reads or writes the browser's storage; null where that is full or forbidden.
 * @template T
 * @param {() => T} use
 */
function stored(use) {
  try {
    return use() ?? null;
  } catch {
    return null;
  }
}

/**
 * The session's tokens. The access token is in this page's memory only; the refresh token is in a cookie that no script
 * can read and that all tabs share. While somebody is signed in, storage holds a mark: the time of the sign-in, no
 * secret. So a page without a session asks the service for nothing.
 */
export const tokens = {
  /** @type {string | null} */
  access: null,
  active: stored(() => localStorage.getItem(MARK)) !== null,
  /** Called when the service refuses to renew the session. */
  onEnd() {},
  /** Keep the answer of a login. @param {{access_token: string}} session */
  keep({ access_token }) {
    this.access = access_token;
    this.active = true;
    stored(() => localStorage.setItem(MARK, String(Date.now())));
  },
  drop() {
    this.access = null;
    this.active = false;
    stored(() => localStorage.removeItem(MARK));
  },
};

/** @type {Promise<boolean> | null} */
let renewal = null;

/** Renew the token `rejected`, once for all callers; false if the session is over. @param {string | null} rejected */
async function renew(rejected) {
  if (!tokens.active || tokens.access !== rejected) return tokens.active;
  renewal ??= alone(refresh).finally(() => { renewal = null; });
  return renewal;
}

/**
 * Change the session's cookie while no other tab does, so that each tab sends the cookie that the last one was given.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(work) {
  // Without a secure connection there are no locks; the service's time of grace is for that.
  return navigator.locks === undefined ? work() : navigator.locks.request("pycalc.refresh", work);
}

async function refresh() {
  try {
    const answer = await anonymous("/token/refresh", { method: "POST", json: { cookie: true }, cookie: true });
    const { access_token } = await answer.json();
    if (tokens.active) tokens.access = access_token; // nobody has signed out meanwhile
    return tokens.active;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return false; // any other refusal may be a proxy's
    throw error;
  }
}

/** @param {string} path @param {Options} options @param {string | null} token */
async function send(path, options, token) {
  const { method = "GET", json, accept = "application/json", deadline = DEADLINE_MS, cookie = false } = options;
  /** @type {Record<string, string>} */
  const headers = { Accept: accept, ...options.headers };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  const late = new AbortController();
  const timer = deadline > 0 ? setTimeout(() => late.abort(), deadline) : 0;
  const signal = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal;
  const body = json === undefined ? options.body : JSON.stringify(json);
  const credentials = cookie ? "same-origin" : "omit";
  try {
    const answer = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials });
    if (answer.ok) return answer;
    const seconds = Number(answer.headers.get("Retry-After"));
    const members = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, members ?? {}, seconds > 0 ? seconds : null);
  } catch (error) {
    if (error instanceof Problem || options.signal?.aborted) throw error;
    throw new Problem(0, { code: late.signal.aborted ? "timeout" : "unreachable" });
  } finally {
    clearTimeout(timer); // the deadline is that of the answer's beginning: a long body may take longer
  }
}

/**
 * A request without a token; with `cookie` the browser sends and keeps cookies. Returns the 2xx answer; throws Problem,
 * or AbortError when `signal` says so.
 * @param {string} path
 * @param {Options} [options]
 */
export function anonymous(path, options = {}) {
  return send(path, options, null);
}

/**
 * A request with the session's token. An expired token is renewed once and the request repeated; when that fails, the
 * session ends.
 * @param {string} path
 * @param {Options} [options]
 */
export async function request(path, options = {}) {
  const token = tokens.access;
  let refusal = new Problem(401, { code: "unauthorized" });
  try {
    if (token !== null) return await send(path, options, token);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    refusal = error;
  }
  if (await renew(token)) return send(path, options, tokens.access);
  tokens.onEnd();
  throw refusal;
}

/**
 * The JSON that the service answers to `request`; undefined for 204.
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function requestJson(path, options) {
  return readJson(await request(path, options));
}

/** An idempotency key of 128 random bits. Browsers have `crypto.randomUUID` on secure connections only. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The header field with an idempotency key. @param {string} key */
export const keyField = (key) => ({ "Idempotency-Key": `"${key}"` });

/** The JSON of an answer; undefined for 204. @param {Response} answer @returns {Promise<any>} */
export async function readJson(answer) {
  return answer.status === 204 ? undefined : readBody(answer, "json");
}

/**
 * The body of an answer. Throws Problem if the connection breaks, and AbortError when the request's signal says so.
 * @param {Response} answer @param {"json" | "text" | "blob"} form @returns {Promise<any>}
 */
export async function readBody(answer, form) {
  try {
    return await answer[form]();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unusable" });
  }
}
