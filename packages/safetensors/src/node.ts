import { nodeModule } from '@meap/files';
import { SafetensorsError } from './error.ts';

const unavailable = () =>
  new SafetensorsError(
    'safetensors: no files here, got a browser, expected Node.js 20.19 or later; ' +
      'fetch the bytes and give them to parseSafetensors',
  );

export const fs: typeof import('node:fs') = /* @__PURE__ */ nodeModule('node:fs', unavailable);
export const paths: typeof import('node:path') = /* @__PURE__ */ nodeModule('node:path', unavailable);
