/** Makes `dist/page/main.js`, the program of the page, for browsers. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
  entryPoints: ['src/page/main.ts'],
  outfile: 'dist/page/main.js',
  bundle: true,
  external: ['uplot'],
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
});
