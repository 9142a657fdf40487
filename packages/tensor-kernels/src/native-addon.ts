import type { NativeAddon } from './addon-interface.ts';
import { availableThreads } from './container-limits.ts';
import { findAddon } from './find-addon.ts';

let loaded: NativeAddon | undefined;

/**
 * Loads the addon that {@link findAddon} finds.
 *
 * `MEAP_NUM_THREADS` sets the number of threads, by default {@link availableThreads}; `MEAP_INSTRUCTION_SET` selects one
 * of `instructionSets()`, by default the best.
 *
 * @throws Error with the reason why there are no native kernels and what to do
 */
export function loadNativeAddon(): NativeAddon {
  if (loaded) return loaded;
  // Not an import, so that bundlers for browsers find no Node module.
  if (!globalThis.process?.getBuiltinModule) {
    throw new Error('native: needs Node.js 20.19 or later, got another JavaScript runtime');
  }
  const addon = findAddon(import.meta.url);
  const { MEAP_INSTRUCTION_SET, MEAP_NUM_THREADS } = process.env;
  if (MEAP_INSTRUCTION_SET) addon.setInstructionSet(MEAP_INSTRUCTION_SET);
  const threads = MEAP_NUM_THREADS ? Number(MEAP_NUM_THREADS) : availableThreads();
  if (!Number.isInteger(threads) || threads < 1) {
    throw new Error(
      `native: MEAP_NUM_THREADS must be a whole number of at least 1, got '${MEAP_NUM_THREADS}'`,
    );
  }
  addon.setNumThreads(threads);
  loaded = addon;
  return addon;
}
