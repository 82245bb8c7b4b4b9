// Requests to the service: the session's tokens, their renewal, and errors as problems (RFC 9457).

const STORAGE_KEY = "pycalc.session";
const RENEWAL_LOCK = "pycalc.renewal";

/** An answer that is not 2xx, or none at all (`status` 0). */
export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.title ?? `HTTP ${status}`);
    this.status = status;
    this.title = String(body.title ?? `The service answered ${status}`);
    this.detail = String(body.detail ?? "");
    this.errors = (Array.isArray(body.errors) ? body.errors : []).map((error) => ({
      pointer: String(error?.pointer ?? ""),
      detail: String(error?.detail ?? ""),
    }));
    this.members = body;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = { title: "No answer", detail: "The service could not be reached. Is the connection up?" };

/** The signed-in session. It fires `change` when it begins and when it ends, `detail` holding the reason or "". */
class Session extends EventTarget {
  #tokens = null;
  #renewal = null;
  // A duplicated tab has copied the tokens: whoever renews them tells the others.
  #renewals = new BroadcastChannel(RENEWAL_LOCK);
  user = null;

  constructor() {
    super();
    this.#renewals.onmessage = ({ data }) => {
      if (data.replaced === this.refreshToken && this.active) this.keep(data.tokens);
    };
    try {
      this.#tokens = JSON.parse(sessionStorage.getItem(STORAGE_KEY));
    } catch {
      this.#tokens = null;
    }
  }

  get active() {
    return this.#tokens !== null;
  }

  get accessToken() {
    return this.#tokens?.access_token ?? null;
  }

  get refreshToken() {
    return this.#tokens?.refresh_token ?? null;
  }

  /** Keeps the answer of a login or a refresh; a refresh without a new refresh token keeps the old one. */
  keep({ access_token, refresh_token = this.refreshToken }) {
    this.#tokens = { access_token, refresh_token };
    try {
      sessionStorage.setItem(STORAGE_KEY, JSON.stringify(this.#tokens));
    } catch {
      // Storage is full or forbidden: the session then lives as long as the page.
    }
  }

  begin(user) {
    this.user = user;
    this.dispatchEvent(new CustomEvent("change", { detail: "" }));
  }

  end(reason = "") {
    this.#tokens = null;
    this.user = null;
    try {
      sessionStorage.removeItem(STORAGE_KEY);
    } catch {
      // As above: there was nothing stored.
    }
    this.dispatchEvent(new CustomEvent("change", { detail: reason }));
  }

  /** True once `rejected` has been replaced by a newer access token. All callers share one renewal. */
  async renew(rejected) {
    if (this.accessToken !== rejected) return this.active;
    if (this.refreshToken === null) return false;
    this.#renewal ??= this.#renewAlone(rejected).finally(() => { this.#renewal = null; });
    return this.#renewal;
  }

  /** Renews the tokens while no other tab does, unless one has done so meanwhile. */
  async #renewAlone(rejected) {
    const work = () => (this.accessToken === rejected ? this.#refresh() : this.active);
    // Without a secure connection there are no locks; the service's time of grace is for that.
    return navigator.locks === undefined ? work() : navigator.locks.request(RENEWAL_LOCK, work);
  }

  async #refresh() {
    const replaced = this.refreshToken;
    try {
      const answer = await send("/token/refresh", { method: "POST", json: { refresh_token: replaced } });
      this.keep(await readJson(answer));
      this.#renewals.postMessage({ replaced, tokens: this.#tokens });
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) return false;
      throw error;
    }
  }
}

export const session = new Session();

async function send(path, { method = "GET", json, accept = "application/json", headers = {}, signal, token } = {}) {
  const sent = { Accept: accept, ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (token) sent.Authorization = `Bearer ${token}`;
  let answer;
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    answer = await fetch(path, { method, headers: sent, body, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, UNREACHABLE);
  }
  if (answer.ok) return answer;
  const seconds = Number(answer.headers.get("Retry-After"));
  const body = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, body ?? {}, seconds > 0 ? seconds : null);
}

/** A request without credentials. Returns the 2xx answer; raises Problem, or AbortError when `signal` says so. */
export function anonymous(path, options) {
  return send(path, options);
}

/** The JSON of an answer; a Problem if it holds none. */
export async function readJson(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(answer.status, { title: "No usable answer", detail: "The answer was cut off or is not JSON." });
  }
}

/**
 * A request with the session's token. An expired token is renewed once and the request repeated; when that fails,
 * the session ends.
 */
export async function authorized(path, options = {}) {
  const token = session.accessToken;
  try {
    return await send(path, { ...options, token });
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401 || token === null) throw error;
    if (await session.renew(token)) return send(path, { ...options, token: session.accessToken });
    if (session.active) session.end("Your session has ended. Please sign in again.");
    throw error;
  }
}
