import type { NamedValue } from './addon.ts';

/** What a client or topology knows of its plugin. */
export interface PluginFacts {
  /** The library's file. */
  readonly path: string;
  /** The version of PJRT that the plugin speaks. */
  readonly version: { readonly major: number; readonly minor: number };
  /** Such as `xla_version` and `stablehlo_current_version`. */
  readonly attributes: Readonly<Record<string, NamedValue>>;
  /** @internal What the results of its compiler depend on, for cache keys. */
  readonly fingerprint: string;
}
