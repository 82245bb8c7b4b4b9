// The page Account.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "user";

export default function Account() {
  return html`<h1 tabindex="-1">${t("account.title")}</h1><p class="lead">${t("account.lead")}</p>`;
}
