// The types of vendor/uplot.js, as far as the console uses it.

export default class uPlot {
  constructor(options: Record<string, any>, data: (number | null)[][], target: HTMLElement);
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
  static paths: { bars(options: Record<string, any>): any };
}
