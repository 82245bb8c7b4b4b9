// The options of the expression: how a value is rounded, and in which base it is written. The address holds them.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { OPTIONS, ask, asked, isSame, state } from "../pages/calculate.js";
import { Field } from "../parts/form.js";

/** The errors of a problem that stand at the options, by name. @param {import("../api.js").Problem | undefined} problem */
export function optionErrors(problem) {
  const found = (problem?.errors ?? []).map(({ pointer, detail }) => [pointer.slice(1), detail]);
  return Object.fromEntries(found.filter(([name]) => OPTIONS.includes(name)));
}

/** @param {{submit: (event?: Event) => void}} props */
export function Options({ submit }) {
  const given = asked();
  const { problem, wanted } = state.value;
  const errors = isSame(wanted, given) ? optionErrors(problem) : {}; // not those of an address that was left
  const open = useSignal(OPTIONS.some((name) => given.get(name)));
  useEffect(() => {
    const first = OPTIONS.find((name) => errors[name]);
    if (!first) return;
    open.value = true;
    requestAnimationFrame(() => /** @type {HTMLElement | null} */ (document.querySelector(`.options [name=${first}]`))?.focus());
  }, [problem]);
  const onInput = (/** @type {any} */ { currentTarget: { name, value } }) => {
    const now = asked();
    const members = ["expression", ...OPTIONS].map((one) => [one, one === name ? value : now.get(one) ?? ""]);
    ask(new URLSearchParams(members.filter(([, one]) => one !== "")), { replace: true });
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter") submit(event); };
  return html`<details open=${open.value} onToggle=${(/** @type {any} */ event) => { open.value = event.currentTarget.open; }}>
    <summary>${t("calculate.options")}</summary><div class="options">${OPTIONS.map((name) => html`
      <${Field} key=${name} name=${name} label=${name} hint=${t(`calculate.${name}-hint`)} error=${errors[name]} value=${given.get(name) ?? ""}
        onInput=${onInput} onKeyDown=${onKeyDown} autocomplete="off" spellcheck=${false} inputmode="numeric" class="mono" />`)}</div></details>`;
}
