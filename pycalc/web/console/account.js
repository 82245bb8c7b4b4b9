// Signing in, creating an account, signing out.

import { byId, clearFields, complete, hide, showProblem } from "./dom.js";
import { Problem, anonymous, authorized, readJson, session } from "./http.js";

const TOTP_REQUIRED = "/docs/problems#totp-required";

async function signIn(username, password, totp = "") {
  const json = { username, password, cookie: true, ...(totp === "" ? {} : { totp }) };
  const answer = await anonymous("/login", { method: "POST", json, cookie: true });
  session.keep(await readJson(answer));
  await resume();
}

async function register(form) {
  const values = new FormData(form);
  const [username, password] = [values.get("username"), values.get("password")];
  const body = { username, email: values.get("email"), password };
  const headers = {};
  if (values.get("role")) {
    body.role = "admin";
    if (values.get("bootstrap")) headers["X-Bootstrap-Token"] = values.get("bootstrap").trim();
  }
  await anonymous("/register", { method: "POST", json: body, headers });
  await signIn(username, password);
}

/** Takes up the session, if there is one: the account is read and the page is told. */
export async function resume() {
  const answer = await authorized("/me");
  session.begin(await readJson(answer));
}

/** Runs `work` for a submitted form: no second submission meanwhile, problems shown beside the fields. */
function onSubmit(form, work) {
  const place = form.querySelector(".problem");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    clearFields(form);
    hide(place);
    if (!complete(form)) return;
    button.disabled = true;
    try {
      await work();
      form.reset();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showProblem(place, error, form);
    } finally {
      button.disabled = false;
    }
  });
}

function switchTo(wanted) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.id === wanted;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

function prepareTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => switchTo(tab.id));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      const next = tabs[(index + 1) % tabs.length];
      switchTo(next.id);
      next.focus();
    });
  }
}

/** Shows the link to the identity provider where there is one, and hides the forms where passwords are switched off. */
async function showWaysIn() {
  try {
    const { sign_in: ways } = await readJson(await anonymous("/"));
    byId("provider-sign-in").hidden = ways.provider === null;
    if (ways.password) return;
    for (const part of document.querySelectorAll(".account [role=tablist], .account [role=tabpanel]")) part.hidden = true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // without an answer the forms stay
  }
}

function prepareReveal() {
  for (const box of document.querySelectorAll("[data-reveals]")) {
    const input = byId(box.dataset.reveals);
    box.addEventListener("change", () => { input.type = box.checked ? "text" : "password"; });
    box.form.addEventListener("reset", () => { input.type = "password"; });
  }
}

const RESET = "#password-reset=";

/** Shows the form for a new password to whoever follows the link of a password reset. */
function prepareReset() {
  if (!location.hash.startsWith(RESET)) return;
  const token = location.hash.slice(RESET.length);
  history.replaceState(null, "", location.pathname); // the token stays neither on the screen nor in the history
  byId("reset").hidden = false;
  const form = byId("reset-form");
  onSubmit(form, async () => {
    const json = { token, new_password: form.elements.new_password.value };
    await anonymous("/password-reset", { method: "POST", json });
    byId("reset").hidden = true;
    byId("notice").textContent = "The password is changed. Please sign in with it.";
    byId("notice").hidden = false;
  });
}

/** Wires the forms and the sign-out button. */
export function prepareAccount() {
  const login = byId("login-form");
  const registration = byId("register-form");
  prepareTabs();
  prepareReveal();
  prepareReset();
  const code = byId("login-totp-field");
  onSubmit(login, async () => {
    const { username, password, totp } = login.elements;
    try {
      await signIn(username.value, password.value, totp.value);
      code.hidden = true;
    } catch (error) {
      if (error instanceof Problem && error.members.type === TOTP_REQUIRED) code.hidden = false;
      throw error;
    }
  });
  showWaysIn();
  onSubmit(registration, () => register(registration));
  byId("sign-out").addEventListener("click", async () => {
    try {
      await authorized("/logout", { method: "POST", cookie: true });
    } catch (error) {
      if (session.active && error.status !== 401) {
        // The cookie is still there, and only the service can remove it.
        byId("notice").textContent = "You are still signed in: the service could not end the session. Try again.";
        byId("notice").hidden = false;
        return;
      }
    }
    if (session.active) session.end();
  });
}
