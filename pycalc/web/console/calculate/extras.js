// What the page Calculate has beside the expression: the preview, the options, the operations' forms, the progress.

export { OperationForm, Operations } from "./operations.js";
export { Options } from "./options.js";
export { Preview } from "./preview.js";
export { Progress } from "./progress.js";
