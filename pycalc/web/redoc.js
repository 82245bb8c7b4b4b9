"use strict";

// ReDoc on the service's own OpenAPI document, in the system's fonts: nothing is fetched from anywhere else.
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace';

window.Redoc.init(
  "/openapi.json",
  {
    nativeScrollbars: true,
    theme: {
      colors: { primary: { main: "#0b6357" } },
      typography: { fontFamily: SANS, headings: { fontFamily: SANS }, code: { fontFamily: MONO } },
    },
  },
  document.getElementById("redoc"),
);
