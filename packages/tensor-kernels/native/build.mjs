#!/usr/bin/env node
/**
 * Builds the native addon with whatever C++17 compiler is here; runs when the package is installed.
 * No downloads: headers come from the npm package node-api-headers. Never fails an installation:
 * without a compiler one line says so, and tfjs-wasm serves.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const buildDirectory = join(here, '..', 'build');
const addon = join(buildDirectory, 'meap_kernels.node');
const stampFile = join(buildDirectory, 'stamp.txt');

/** Best first: the addon takes the first that the processor supports. */
const instructionSets = {
  x64: {
    avx512bf16: '-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma -mprefer-vector-width=512',
    avx512: '-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512',
    avx2: '-mavx2 -mfma',
    portable: '',
  },
  arm64: { neon: '' },
}[process.arch] ?? { portable: '' };

const baseFlags = '-std=gnu++17 -O3 -fPIC -ffp-contract=fast -fno-math-errno -Wall -Wextra -Wno-psabi'.split(
  ' ',
);

function say(message) {
  console.log(`@meap/tensor-kernels: ${message}`);
}

function findCompiler() {
  const candidates = [process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean);
  for (const compiler of candidates) {
    try {
      const version = execFileSync(compiler, ['--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return { compiler, version };
    } catch {
      // Not here, or not runnable: the next one.
    }
  }
  return undefined;
}

async function build({ compiler }, work) {
  const run = (args) => promisify(execFile)(compiler, args, { cwd: here });
  const compile = (source, object, flags) =>
    run([...baseFlags, ...flags, '-c', source, '-o', join(work, object)]).then(() => join(work, object));
  const compiled = await Promise.allSettled(
    Object.entries(instructionSets).map(([name, flags]) =>
      compile('kernels.cpp', `${name}.o`, [...flags.split(' ').filter(Boolean), `-DMEAP_ISA=${name}`]),
    ),
  );
  const failure = compiled.at(-1).reason;
  if (failure) throw failure;
  // A compiler too old for an instruction set leaves that set out.
  const present = Object.keys(instructionSets)
    .map((name, i) => ({ name, object: compiled[i].value }))
    .filter(({ name, object }) => object ?? say(`left out ${name}: the compiler refused its flags`));
  const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
  const list = present.map(({ name }) => `X(${name})`).join(' ');
  const shared = await Promise.all([
    compile('addon.cpp', 'addon.o', ['-isystem', headers, `-DMEAP_INSTRUCTION_SETS(X)=${list}`]),
    compile('thread_pool.cpp', 'thread_pool.o', ['-pthread']),
  ]);
  const link =
    process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];
  const out = join(work, 'meap_kernels.node');
  await run([...link, '-o', out, ...present.map(({ object }) => object), ...shared]);
  return out;
}

const prebuilt = join(here, '..', 'prebuilds', `${process.platform}-${process.arch}`, 'meap_kernels.node');
if (existsSync(prebuilt)) {
  say('using the prebuilt native kernels');
  process.exit(0);
}
const found = findCompiler();
if (!found) {
  say(
    'no C++17 compiler found (tried $CXX, c++, g++, clang++): the native backend is off, tfjs-wasm serves instead',
  );
  process.exit(0);
}
const sources = readdirSync(here)
  .sort()
  .map((file) => readFileSync(join(here, file)));
const stamp = createHash('sha256')
  .update([found.version, process.arch, ...sources].join('\0'))
  .digest('hex');
if (existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) process.exit(0);

const work = join(buildDirectory, `tmp-${process.pid}`);
try {
  mkdirSync(work, { recursive: true });
  const started = Date.now();
  renameSync(await build(found, work), addon);
  writeFileSync(stampFile, stamp);
  say(
    `built the native kernels with ${found.version.split('\n')[0]} in ${((Date.now() - started) / 1000).toFixed(1)} s`,
  );
} catch (error) {
  const reason =
    String(error.stderr || error.message)
      .split('\n')
      .find((line) => /error/i.test(line)) ?? error.message;
  say(`the native kernels did not build, tfjs-wasm serves instead: ${reason}`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
