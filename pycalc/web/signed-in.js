// Ends a sign-in through the identity provider: keeps the session and opens the page where the user was.

import { tokens } from "./console/api.js";

tokens.keep(JSON.parse(document.body.dataset.session ?? ""));
let back = "/";
try {
  const kept = new URL(sessionStorage.getItem("pycalc.return") ?? "/", location.href);
  if (kept.origin === location.origin) back = kept.href;
  sessionStorage.removeItem("pycalc.return");
} catch { /* the console will do */ }
location.replace(back);
