// The page History.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "user";

export default function History() {
  return html`<h1 tabindex="-1">${t("history.title")}</h1><p class="lead">${t("history.lead")}</p>`;
}
