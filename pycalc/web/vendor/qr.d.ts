// The types of vendor/qr.js, as far as the console uses it.

export interface Bitmap { readonly size: number; get(x: number, y: number): boolean }
export function generate(text: string): Bitmap;
