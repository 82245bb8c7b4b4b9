// The page Batch.

import { html } from "../../vendor/preact.js";
import { t } from "../app.js";

export const access = "user";

export default function Batch() {
  return html`<h1 tabindex="-1">${t("batch.title")}</h1><p class="lead">${t("batch.lead")}</p>`;
}
