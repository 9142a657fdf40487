/** Before a platform's package is packed: without its binary it would install everywhere and help nobody. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { ADDON } from './platforms.mjs';

if (!existsSync(ADDON)) {
  console.error(
    `${basename(process.cwd())}: no ${ADDON} to pack; node packages/tensor-kernels/native/cross.mjs makes all of them`,
  );
  process.exit(1);
}
