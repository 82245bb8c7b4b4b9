// Ends a sign-in through the identity provider: keeps the session, tells the other tabs, opens the page where the user was.

import { TABS, tokens } from "./console/api.js";

tokens.keep(JSON.parse(document.body.dataset.session ?? ""));
new BroadcastChannel(TABS).postMessage("in");
let back = "/";
try {
  const kept = new URL(sessionStorage.getItem("pycalc.return") ?? "/", location.href);
  if (kept.origin === location.origin) back = kept.href;
  sessionStorage.removeItem("pycalc.return");
} catch { /* the console will do */ }
location.replace(back);
