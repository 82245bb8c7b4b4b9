// The console: what stands on the page follows the session.

import { prepareAccount, resume } from "./console/account.js";
import { clearCalculator, prepareCalculator } from "./console/calculator.js";
import { byId, copyButton, hide, showProblem } from "./console/dom.js";
import { startEvents, stopEvents } from "./console/events.js";
import { clearHistory, prepareHistory, refresh, refreshNewest } from "./console/history.js";
import { Problem, session } from "./console/http.js";
import { loadOperations } from "./console/operations.js";

function showSignedIn() {
  byId("who").hidden = false;
  byId("who-name").textContent = session.user.username;
  byId("who-role").textContent = session.user.role;
  byId("who-role").hidden = session.user.role !== "admin";
  hide(byId("notice"));
  refresh();
  startEvents(refreshNewest);
}

function showSignedOut(reason) {
  byId("who").hidden = true;
  stopEvents();
  clearHistory();
  clearCalculator();
  byId("notice").textContent = reason;
  byId("notice").hidden = reason === "";
}

function follow({ detail }) {
  const signedIn = session.user !== null;
  byId("welcome").hidden = signedIn;
  byId("desk").hidden = !signedIn;
  if (signedIn) showSignedIn();
  else showSignedOut(detail);
  byId(signedIn ? "desk-title" : "welcome-title").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function prepareExamples() {
  const origin = location.origin;
  byId("curl-login").textContent = [
    `TOKEN=$(curl -s ${origin}/login -H 'Content-Type: application/json' \\`,
    `  -d '{"username": "ada", "password": "a long password"}' | jq -r .access_token)`,
  ].join("\n");
  byId("curl-first").textContent = [
    `curl -s ${origin}/register -H 'Content-Type: application/json' \\`,
    `  -d '{"username": "ada", "email": "ada@example.org", "password": "a long password"}'`,
    byId("curl-login").textContent,
    `curl -H "Authorization: Bearer $TOKEN" ${origin}/fibonacci/1000`,
  ].join("\n");
  for (const place of document.querySelectorAll("[data-copies]")) {
    place.append(copyButton("Copy", () => byId(place.dataset.copies).textContent));
  }
}

async function start() {
  prepareExamples();
  prepareAccount();
  prepareHistory();
  session.addEventListener("change", follow);
  session.addEventListener("elsewhere", takeUp);
  prepareCalculator(await loadOperations(), refreshNewest);
  if (session.active) await takeUp();
  else byId("welcome").hidden = false;
}

/** Takes up a session that this tab had before it was reloaded, or that another tab has begun. */
async function takeUp() {
  try {
    await resume();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("welcome").hidden = false;
    if (error.status !== 401) showProblem(byId("notice"), error);
  }
}

start();
