import { nodeModule } from '@meap/files';
import { CheckpointError } from './errors.ts';

export const fs = /* @__PURE__ */ nodeModule<typeof import('node:fs')>(
  'node:fs',
  () =>
    new CheckpointError(
      'llama-model: no file system, got a browser, expected Node.js 20.19 or later; in a browser pass config.json to ' +
        'parseConfig, the weights to parseSafetensors, and their results to new Llama',
    ),
);
