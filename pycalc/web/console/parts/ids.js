// Ids of elements. Preact's own `useId` repeats itself in each tree that is rendered, and dialogs are trees of their own.

import { useRef } from "../../vendor/preact.js";

let last = 0;

/** An id that no other component of the page has. @returns {string} */
export function useElementId() {
  const id = useRef("");
  if (id.current === "") {
    last += 1;
    id.current = `e${last}`;
  }
  return id.current;
}
