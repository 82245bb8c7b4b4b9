// The page Admin.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "admin";

export default function Admin() {
  return html`<h1 tabindex="-1">${t("admin.title")}</h1><p class="lead">${t("admin.lead")}</p>`;
}
