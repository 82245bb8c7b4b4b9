// The page Developers.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "user";

export default function Developers() {
  return html`<h1 tabindex="-1">${t("developers.title")}</h1><p class="lead">${t("developers.lead")}</p>`;
}
