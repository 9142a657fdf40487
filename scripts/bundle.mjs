#!/usr/bin/env node
/**
 * Bundles the package in the working directory for Node, which starts faster from a few files than from hundreds: `dist`
 * gets one file for each entry, and further ones for what they share. `tsc` writes declarations and unbundled modules, for
 * bundlers of browser programs, into `dist/modules`.
 *
 *     node ../../scripts/bundle.mjs [ENTRY...]
 *
 * Entries are the `exports`, `bin` and `imports` of package.json, and those named, such as `src/encode-worker.ts`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const {
  exports = {},
  bin = {},
  imports = {},
  publishConfig = {},
} = JSON.parse(readFileSync('package.json', 'utf8'));
const files = [exports, bin, imports, publishConfig.bin ?? {}].flatMap(leaves);
const sources = files.map((path) => path.replace(/^(?:\.\/)?dist\/(?!modules\/)(.*)\.js$/, 'src/$1.ts'));
const entries = sources.filter((path) => path.startsWith('src/') && existsSync(path));

mkdirSync('dist', { recursive: true });
for (const name of readdirSync('dist'))
  if (name !== 'modules') rmSync(join('dist', name), { recursive: true });
await build({
  entryPoints: [...new Set([...entries, ...process.argv.slice(2)])],
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  splitting: true,
  packages: 'external',
  external: ['#*'],
  format: 'esm',
  platform: 'neutral',
  target: 'es2023',
  logLevel: 'warning',
  plugins: [{ name: 'require-core', setup: requireCore }],
});

/**
 * Loads the core of TensorFlow.js, a single CommonJS file of a megabyte, by `require`: the same module, without the search
 * for the names that it exports, which takes Node longer than to run it.
 */
function requireCore({ onResolve, onLoad }) {
  onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, ({ path }) => ({ path, namespace: 'required' }));
  onResolve({ filter: /^core$/, namespace: 'required' }, ({ path }) => ({ path, namespace: 'core' }));
  // The names of a CommonJS module are those of the object, as of the core itself.
  onLoad({ filter: /./, namespace: 'required' }, () => ({
    contents: `module.exports = require('core').default;`,
  }));
  onLoad({ filter: /./, namespace: 'core' }, () => ({
    contents: `import { createRequire } from 'node:module';
      export default createRequire(import.meta.url)('@tensorflow/tfjs-core');`,
    resolveDir: process.cwd(),
  }));
}

/** Returns the texts in nested objects. */
function leaves(value) {
  return typeof value === 'string' ? [value] : Object.values(value).flatMap(leaves);
}
