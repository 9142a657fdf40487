import { CheckpointError } from './errors.ts';

/**
 * Node's module for files, reached through the process object: bundlers for browsers find no import of a Node module, and
 * all that needs no files works there.
 */
export const fs = /* @__PURE__ */ builtin();

function builtin(): typeof import('node:fs') {
  const load = globalThis.process?.getBuiltinModule;
  if (load) return load('node:fs');
  return new Proxy({} as typeof import('node:fs'), {
    get() {
      throw new CheckpointError(
        'llama-model: no files here, got a browser, expected Node.js 20.19 or later; in a browser give parseConfig the ' +
          'config.json, parseSafetensors the weights, and new Llama what they return',
      );
    },
  });
}
