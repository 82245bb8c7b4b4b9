"use strict";

// Swagger UI on the service's own OpenAPI document, dark where the page is. `validatorUrl: null` keeps it from sending
// the document to Swagger's online validator.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const applyScheme = () => {
  const { theme } = root.dataset;
  root.classList.toggle("dark-mode", theme === "dark" || (theme !== "light" && dark.matches));
};
applyScheme();
dark.addEventListener("change", applyScheme);
new MutationObserver(applyScheme).observe(root, { attributeFilter: ["data-theme"] });

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
