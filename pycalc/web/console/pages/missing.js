// The page for addresses that do not exist.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export default function Missing() {
  return html`<h1 tabindex="-1">${t("missing.title")}</h1><p class="lead">${t("missing.text")}</p>
    <p><a class="button primary" href="/">${t("missing.home")}</a></p>`;
}
