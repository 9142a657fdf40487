import { nodeModule } from '@meap/files';
import { SafetensorsError } from './error.ts';

const unavailable = () =>
  new SafetensorsError(
    'safetensors: no files here, got a browser, expected Node.js 20.19 or later; ' +
      'fetch the bytes and give them to parseSafetensors',
  );

export const fs = /* @__PURE__ */ nodeModule<typeof import('node:fs')>('node:fs', unavailable);
export const paths = /* @__PURE__ */ nodeModule<typeof import('node:path')>('node:path', unavailable);
