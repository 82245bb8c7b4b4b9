// The page Admin: users, health, dead letters and the audit log; the address holds which of them is shown.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { navigate, query, t } from "../app.js";

export const access = "admin";

const TABS = ["users", "health", "dead-letters", "audit"];

export default function Admin() {
  const tab = TABS.includes(query.value.get("tab") ?? "") ? String(query.value.get("tab")) : "users";
  const part = useSignal(/** @type {{tab: string, module: any} | null} */ (null));
  useEffect(() => {
    let gone = false;
    import(`../admin/${tab}.js`).then((module) => { if (!gone) part.value = { tab, module }; });
    return () => { gone = true; };
  }, [tab]);
  const shown = part.value?.tab === tab ? part.value.module.default : null;
  return html`<h1 tabindex="-1">${t("admin.title")}</h1><p class="lead">${t("admin.lead")}</p>
    <nav class="segments" aria-label=${t("admin.title")}>${TABS.map((name) => html`
      <button type="button" key=${name} aria-pressed=${name === tab} onClick=${() => navigate(`/console/admin?tab=${name}`)}>${t(`admin.${name}`)}</button>`)}</nav>
    ${shown ? html`<${shown} key=${tab} />` : html`<div class="skeleton" aria-busy="true"></div>`}`;
}
