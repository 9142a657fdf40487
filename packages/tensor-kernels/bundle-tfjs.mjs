/** Makes `dist/tfjs.js`, see `src/tfjs.ts`. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
  entryPoints: ['src/tfjs.ts'],
  outfile: 'dist/tfjs.js',
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  external: ['@tensorflow/tfjs-backend-cpu'],
  logLevel: 'warning',
});
