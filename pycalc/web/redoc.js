"use strict";

// ReDoc on the service's own OpenAPI document, in the system's fonts: nothing is fetched from anywhere else.
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace';
const LIGHT = { colors: { primary: { main: "#0b6357" } } };
const DARK = {
  colors: {
    primary: { main: "#63cdb9" },
    success: { main: "#6fd08f" },
    error: { main: "#ff9c92" },
    text: { primary: "#e7ecea", secondary: "#a1aeab" },
    border: { light: "#2a3230", dark: "#2a3230" },
    gray: { 50: "#171c1b", 100: "#2a3230" },
  },
  sidebar: { backgroundColor: "#0c100f", textColor: "#e7ecea" },
  rightPanel: { backgroundColor: "#0c100f" },
  schema: { nestedBackground: "#171c1b", typeNameColor: "#a1aeab", typeTitleColor: "#a1aeab", requireLabelColor: "#ff9c92" },
  typography: { code: { color: "#f0c067", backgroundColor: "#2a3230" } },
};

const system = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const { theme } = document.documentElement.dataset;
  return theme === "dark" || (theme !== "light" && system.matches);
};
const drawn = isDark();
const { typography, ...colours } = drawn ? DARK : LIGHT;
const code = { ...typography?.code, fontFamily: MONO };

// ReDoc bakes its colours in as it draws: another theme needs another drawing.
const redraw = () => { if (isDark() !== drawn) location.reload(); };
system.addEventListener("change", redraw);
new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });

window.Redoc.init(
  "/openapi.json",
  { nativeScrollbars: true, theme: { ...colours, typography: { fontFamily: SANS, headings: { fontFamily: SANS }, code } } },
  document.getElementById("redoc"),
);
