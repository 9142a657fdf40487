/** Copies `recipes/PROGRAM` into the package in the current folder, for its tarball: run by `prepack` with the program's name. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const [program] = process.argv.slice(2);
rmSync('recipes', { recursive: true, force: true });
cpSync(join(import.meta.dirname, '../recipes', program), 'recipes', { recursive: true });
