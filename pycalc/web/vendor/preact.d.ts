// The types of vendor/preact.js, as far as the console uses it.

export interface Signal<T> { value: T; peek(): T; subscribe(fn: (value: T) => void): () => void }
export interface ReadonlySignal<T> { readonly value: T; peek(): T; subscribe(fn: (value: T) => void): () => void }
export function signal<T>(value: T): Signal<T>;
export function computed<T>(compute: () => T): ReadonlySignal<T>;
export function effect(run: () => void | (() => void)): () => void;
export function batch<T>(run: () => T): T;
export function untracked<T>(run: () => T): T;
export function useSignal<T>(value: T): Signal<T>;
export function useComputed<T>(compute: () => T): ReadonlySignal<T>;
export function useSignalEffect(run: () => void | (() => void)): void;
export function useCallback<T>(callback: T, inputs: unknown[]): T;
export function useEffect(run: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(run: () => void | (() => void), inputs?: unknown[]): void;
export function useId(): string;
export function useMemo<T>(make: () => T, inputs: unknown[]): T;
export function useRef<T>(value: T): { current: T };
export function useState<T>(value: T | (() => T)): [T, (next: T | ((now: T) => T)) => void];
export function createContext<T>(value: T): any;
export function h(type: any, props: any, ...children: any[]): any;
export function render(node: any, parent: Element): void;
export function html(strings: TemplateStringsArray, ...values: any[]): any;
export const Fragment: any;
export class Component<P = {}, S = {}> { props: P; state: S; setState(next: Partial<S>): void; forceUpdate(): void }
