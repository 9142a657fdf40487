/** Bundles of the packages that run in browsers: their sizes, and that they do not import Node. */
import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, it } from 'vitest';

const packages = new URL('../../../packages/', import.meta.url).pathname;

/** Returns a minified bundle of all exports of a package, without TensorFlow.js. */
async function bundle(name: string, program = `export * from '@meap/${name}'`): Promise<string> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: program, resolveDir: import.meta.dirname },
    alias: Object.fromEntries(
      SOURCES.map((source) => [`@meap/${source}`, `${packages}${source}/src/index.ts`]),
    ),
    external: ['@tensorflow/*'],
    platform: 'browser',
    format: program.startsWith('export') ? 'esm' : 'iife',
    target: 'es2022',
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  const external = Object.values(metafile.outputs).flatMap((output) =>
    output.imports.map(({ path }) => path),
  );
  expect(external.filter((path) => !path.startsWith('@tensorflow/'))).toEqual([]);
  return outputFiles[0].text;
}
const SOURCES = ['evals', 'llama-model', 'meap-masking', 'safetensors', 'sft-duplication', 'tensor-kernels'];

it.each(SOURCES)('%s bundles for browsers without Node, in the size that its README states', async (name) => {
  const code = await bundle(name);
  expect(code).not.toMatch(/(from|require|import) ?\(?["']node:/);
  const readme = readFileSync(`${packages}${name}/README.md`, 'utf8');
  const stated = Number(/([\d.]+) kB minified and gzipped/.exec(readme)?.[1]);
  const actual = gzipSync(code, { level: 9 }).length / 1000;
  expect(actual, `${name}: ${actual} kB`).toBeLessThan(1.1 * stated);
  expect(actual, `${name}: ${actual} kB`).toBeGreaterThan(0.9 * stated);
});

it('safetensors parses bytes without Node, and reports that it cannot open files', async () => {
  const code = await bundle(
    'safetensors',
    `import { fromFloat32, openSafetensors, parseSafetensors, toFloat32 } from '@meap/safetensors';
     globalThis.found = openSafetensors('model').catch((error) => error.message);
     globalThis.bytes = fromFloat32(Float32Array.of(1, 2), 'BF16', [2]).data.length;
     try { parseSafetensors(new Uint8Array(3), 'weights'); } catch (error) { globalThis.refused = error.message; }`,
  );
  const browser: { found?: Promise<string>; bytes?: number; refused?: string } = {};
  runInNewContext(code, Object.assign(browser, { TextDecoder, TextEncoder }));
  expect(browser).toMatchObject({ bytes: 4, refused: expect.stringContaining('weights') });
  expect(await browser.found).toContain('no files here, got a browser');
});
