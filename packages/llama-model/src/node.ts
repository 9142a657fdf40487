import { nodeModule } from '@meap/files';
import { CheckpointError } from './errors.ts';

export const fs = /* @__PURE__ */ nodeModule<typeof import('node:fs')>(
  'node:fs',
  () =>
    new CheckpointError(
      'llama-model: no files here, got a browser, expected Node.js 20.19 or later; in a browser give parseConfig the ' +
        'config.json, parseSafetensors the weights, and new Llama what they return',
    ),
);
