/**
 * Node's modules for files, reached through the process object: bundlers for browsers find no import of a Node module,
 * and what works on bytes in memory works there too.
 */
import { SafetensorsError } from './error.ts';

function builtin<Module extends object>(name: `node:${string}`): Module {
  const load = globalThis.process?.getBuiltinModule;
  if (load) return load(name) as Module;
  return new Proxy({} as Module, {
    get() {
      throw new SafetensorsError(
        'safetensors: no files here, got a browser, expected Node.js 20.19 or later; ' +
          'fetch the bytes and give them to parseSafetensors',
      );
    },
  });
}

export const fs: typeof import('node:fs') = /* @__PURE__ */ builtin('node:fs');
export const paths: typeof import('node:path') = /* @__PURE__ */ builtin('node:path');
