// Signing in and out, in this tab and in all others.

import { navigate, t, who } from "./app.js";
import { Problem, TABS, alone, anonymous, readJson, request, requestJson, tokens } from "./api.js";
import { toast } from "./parts/toast.js";

const tabs = new BroadcastChannel(TABS);
let owner = ""; // the id of the user to whom belongs what pages keep in memory

/** Have pages forget what belongs to another user, by the event `otheruser`. @param {string} id the user's, "" after a sign-out */
function belongsTo(id) {
  if (owner && owner !== id) dispatchEvent(new Event("otheruser"));
  owner = id;
}

/** Take up the session that this browser has, if it has one. */
export async function resume() {
  if (!tokens.active) {
    who.value = null;
    return;
  }
  try {
    const user = await requestJson("/me");
    belongsTo(user.id);
    who.value = user;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401) toast(t("session.unreachable"), { retry: resume });
    if (who.value === undefined && error.status === 401) who.value = null;
  }
}

/** End the session in this tab. What pages keep in memory stays, since the same user may sign in again. */
function leave() {
  tokens.drop();
  who.value = null;
}

function signedOut() {
  leave();
  belongsTo("");
}

tokens.onEnd = () => {
  if (!tokens.active) return;
  leave();
  toast(t("session.ended"));
};

tabs.addEventListener("message", ({ data }) => {
  if (data === "out") signedOut();
  else {
    tokens.access = null; // the other tab's user may be another one
    tokens.active = true;
    resume();
  }
});

/** @param {{username: string, password: string, totp?: string}} credentials */
export async function signIn({ username, password, totp }) {
  const json = { username, password, cookie: true, ...(totp ? { totp } : {}) };
  tokens.keep(await alone(async () => readJson(await anonymous("/login", { method: "POST", json, cookie: true }))));
  tabs.postMessage("in");
  await resume();
}

/** @param {{username: string, email: string, password: string}} account @param {string} [bootstrap] an admin's token */
export async function register(account, bootstrap) {
  const json = bootstrap ? { ...account, role: "admin" } : account;
  /** @type {Record<string, string>} */
  const headers = bootstrap ? { "X-Bootstrap-Token": bootstrap } : {};
  await anonymous("/register", { method: "POST", json, headers });
  await signIn(account);
}

/** End the session; while the service cannot end it, the user stays signed in and is told so. */
export async function signOut() {
  try {
    await request("/logout", { method: "POST", cookie: true });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (tokens.active && error.status !== 401) {
      toast(t("session.still-in"), { retry: signOut });
      return;
    }
  }
  forget();
  navigate("/");
}

/** Forget a session that the service has ended: after a new password, or when the account is deleted. */
export function forget() {
  signedOut();
  tabs.postMessage("out");
}
