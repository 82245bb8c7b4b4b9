// Requests to the service: the session's tokens, their renewal, and errors as problems (RFC 9457).

const MARK = "pycalc.signed-in";
const REFRESH_LOCK = "pycalc.refresh";

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

const ENDED = { title: "Signed out", detail: "Your session has ended. Please sign in again." };

/** The result of `use`, which reads or writes the browser's storage; null where that is full or forbidden. */
function stored(use) {
  try {
    return use() ?? null;
  } catch {
    return null;
  }
}

const UNREACHABLE = { title: "No answer", detail: "The service could not be reached. Is the connection up?" };

/**
 * The signed-in session. It fires `change` when it begins and when it ends, `detail` holding the reason or "", and
 * `elsewhere` when another tab has signed in.
 *
 * The access token is in this page's memory only. The refresh token is in a cookie that no script can read, and that
 * all tabs share. While somebody is signed in the storage holds a mark: the time of the sign-in, no secret. So a page
 * without a session asks the service for nothing, and tabs follow each other.
 */
class Session extends EventTarget {
  #renewal = null;
  accessToken = null;
  active = stored(() => localStorage.getItem(MARK)) !== null;
  user = null;

  constructor() {
    super();
    stored(() => sessionStorage.removeItem("pycalc.session")); // where an earlier release kept its tokens
    window.addEventListener("storage", ({ key, newValue }) => {
      if (key !== MARK) return;
      this.#leave("");
      this.active = newValue !== null;
      if (this.active) this.dispatchEvent(new Event("elsewhere"));
    });
  }

  /** Keeps the answer of a login. */
  keep({ access_token }) {
    this.accessToken = access_token;
    this.active = true;
    stored(() => localStorage.setItem(MARK, String(Date.now())));
  }

  begin(user) {
    this.user = user;
    this.dispatchEvent(new CustomEvent("change", { detail: "" }));
  }

  end(reason = "") {
    stored(() => localStorage.removeItem(MARK));
    this.#leave(reason);
  }

  #leave(reason) {
    this.accessToken = null;
    this.active = false;
    this.user = null;
    this.dispatchEvent(new CustomEvent("change", { detail: reason }));
  }

  /** True once `rejected` has been replaced by a newer access token. All callers share one renewal. */
  async renew(rejected) {
    if (!this.active || this.accessToken !== rejected) return this.active;
    this.#renewal ??= this.#refreshAlone().finally(() => { this.#renewal = null; });
    return this.#renewal;
  }

  /** Refreshes while no other tab does, so that each tab sends the cookie that the last one was given. */
  async #refreshAlone() {
    // Without a secure connection there are no locks; the service's time of grace is for that.
    if (navigator.locks === undefined) return this.#refresh();
    return navigator.locks.request(REFRESH_LOCK, () => this.#refresh());
  }

  async #refresh() {
    try {
      const answer = await send("/token/refresh", { method: "POST", json: { cookie: true }, cookie: true });
      const { access_token } = await readJson(answer);
      if (this.active) this.accessToken = access_token; // nobody has signed out meanwhile
      return this.active;
    } catch (error) {
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) return false;
      throw error;
    }
  }
}

export const session = new Session();

async function send(path, options = {}) {
  const { method = "GET", json, accept = "application/json", headers = {}, signal, token, cookie = false } = options;
  const sent = { Accept: accept, ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (token) sent.Authorization = `Bearer ${token}`;
  let answer;
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const credentials = cookie ? "same-origin" : "omit";
    answer = await fetch(path, { method, headers: sent, body, signal, cache: "no-store", credentials });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, UNREACHABLE);
  }
  if (answer.ok) return answer;
  const seconds = Number(answer.headers.get("Retry-After"));
  const body = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, body ?? {}, seconds > 0 ? seconds : null);
}

/**
 * A request without a token; with `cookie` the browser sends and keeps cookies. Returns the 2xx answer; raises Problem,
 * or AbortError when `signal` says so.
 */
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
  let refusal = new Problem(401, ENDED);
  try {
    if (token !== null) return await send(path, { ...options, token });
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    refusal = error;
  }
  if (await session.renew(token)) return send(path, { ...options, token: session.accessToken });
  if (session.active) session.end(ENDED.detail);
  throw refusal;
}
