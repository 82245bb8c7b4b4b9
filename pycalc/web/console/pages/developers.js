// The page Developers: API keys, the first call in several languages, and the configuration for language models.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Keys } from "../developers/keys.js";
import { first, mcp } from "../developers/codes.js";
import { CodeTabs } from "../parts/code-tabs.js";

export const access = "user";

export default function Developers() {
  return html`<h1 tabindex="-1">${t("developers.title")}</h1><p class="lead">${t("developers.lead")}</p>
    <${Keys} />
    <section class="card" aria-labelledby="code"><h2 id="code">${t("developers.code")}</h2>
      <p class="hint">${t("developers.code-hint")}</p>
      <${CodeTabs} label=${t("developers.code")} codes=${first(location.origin)} /></section>
    <section class="card" aria-labelledby="agents"><h2 id="agents">${t("developers.agents")}</h2>
      <p class="hint">${t("developers.agents-hint")}</p>
      <${CodeTabs} label=${t("developers.agents")} codes=${mcp(location.origin, t)} /></section>
    <section class="card" aria-labelledby="read"><h2 id="read">${t("developers.read")}</h2>
      <ul class="links">${["/guide", "/docs", "/redoc", "/docs/problems", "/openapi.json"].map((path) => html`
        <li key=${path}><a href=${path}>${t(`nav.${path}`)}</a></li>`)}</ul></section>`;
}
