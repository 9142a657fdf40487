/** Runs before a platform's package is packed: refuses one without its binary. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { ADDON } from './platforms.mjs';

if (!existsSync(ADDON)) {
  console.error(
    `${basename(process.cwd())}: no ${ADDON} to pack; run node packages/tensor-kernels/native/cross.mjs`,
  );
  process.exit(1);
}
