// Ends a sign-in through the identity provider: keeps the session and opens the console.

import { session } from "./console/http.js";

session.keep(JSON.parse(document.body.dataset.session));
location.replace("/");
