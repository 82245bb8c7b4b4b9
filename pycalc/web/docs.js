"use strict";

// Swagger UI on the service's own OpenAPI document. `validatorUrl: null` keeps it from sending the document to
// Swagger's online validator.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const applyScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
applyScheme();
dark.addEventListener("change", applyScheme);

// What an earlier release of this page let it keep there.
try {
  localStorage.removeItem("authorized");
} catch {
  // Storage is forbidden, so there is nothing in it.
}

window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  persistAuthorization: false, // else Swagger UI keeps the password in localStorage, as it was typed
  displayRequestDuration: true,
  validatorUrl: null,
});
