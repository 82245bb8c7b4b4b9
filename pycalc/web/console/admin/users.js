// The list of accounts: search, order, and a drawer for each.

import { html, useSignal } from "../../vendor/preact.js";
import { number, query, t, when } from "../app.js";
import { FilterField, onChoose } from "../parts/filters.js";
import { More, usePages } from "../parts/pages.js";
import { Table } from "../parts/table.js";
import { UserDrawer } from "./user.js";

/**
 * @typedef {{id: string, username: string, email: string, role: "user" | "admin", totp: boolean, created_at: string, disabled: boolean,
 *   quota: Record<string, string | number | null>, last_sign_in_at: string | null,
 *   today: {calculations: number, digits: number | string, compute_ms: number}}} Account
 */

const ORDERS = ["username", "-created_at", "-last_sign_in_at"];

export default function Users() {
  const search = query.value.get("search") ?? "";
  const sort = ORDERS.includes(query.value.get("sort") ?? "") ? String(query.value.get("sort")) : "username";
  /** @type {import("../parts/pages.js").Pages<Account>} */
  const pages = usePages(`/users?${new URLSearchParams({ limit: "50", sort, ...(search ? { search } : {}) })}`);
  const open = useSignal(/** @type {string | null} */ (null));
  const account = pages.rows?.find(({ username }) => username === open.value);
  const columns = [
    { key: "username", label: t("sign-in.username"), cell: (/** @type {Account} */ row) => html`<button type="button" class="link"
      onClick=${() => { open.value = row.username; }}>${row.username}</button>` },
    { key: "email", label: t("sign-in.email"), cell: (/** @type {Account} */ { email }) => html`<span class="long">${email}</span>` },
    { key: "state", label: t("users.state"), cell: (/** @type {Account} */ row) => html`<span class="chips">
      ${row.role === "admin" && html`<span class="chip">${t("role.admin")}</span>`}
      ${row.disabled && html`<span class="chip warn">${t("users.disabled")}</span>`}
      ${row.totp && html`<span class="chip">${t("users.totp")}</span>`}</span>` },
    { key: "today", label: t("users.today"), number: true, cell: (/** @type {Account} */ { today }) => number(today.calculations) },
    { key: "seen", label: t("users.seen"), cell: (/** @type {Account} */ { last_sign_in_at: at }) => (at ? html`<time>${when(at)}</time>` : t("keys.never")) },
  ];
  return html`<form class="filters row" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <${FilterField} name="search" label=${t("users.search")} type="search" data-slash />
      <label class="field"><span>${t("users.order")}</span><select name="sort" value=${sort} onChange=${onChoose}>${ORDERS.map((order) => html`
        <option key=${order} value=${order}>${t(`users.order.${order}`)}</option>`)}</select></label></form>
    <${More} pages=${pages}>${(/** @type {Account[] | null} */ rows) => html`<${Table} label=${t("admin.users")} columns=${columns} rows=${rows}
      id=${(/** @type {Account} */ { id }) => id} empty=${t("users.none")} />`}<//>
    ${account && html`<${UserDrawer} key=${account.id} account=${account} onChanged=${pages.reload} onClose=${() => { open.value = null; }} />`}`;
}
