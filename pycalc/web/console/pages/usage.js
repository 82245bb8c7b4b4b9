// The page Usage.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "user";

export default function Usage() {
  return html`<h1 tabindex="-1">${t("usage.title")}</h1><p class="lead">${t("usage.lead")}</p>`;
}
