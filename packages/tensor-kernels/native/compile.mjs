/** Compiles the addon, with this machine's compiler (build.mjs) or for every platform (cross.mjs). */
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The folder of the sources. */
export const sources = dirname(fileURLToPath(import.meta.url));

/** Best first: the addon selects the first that the processor supports. */
const instructionSets = {
  x64: {
    avx512bf16: '-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma -mprefer-vector-width=512',
    avx512: '-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512',
    avx2: '-mavx2 -mfma',
    portable: '',
  },
  arm64: { neon: '' },
};

// Without -ffp-contract=off, compilers would fuse products and sums, and binaries would differ in bits.
const FLAGS =
  '-std=gnu++17 -O3 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -Wall -Wextra -Wno-psabi';

/**
 * Compiles and links the addon into `out`.
 *
 * @param compiler the command and its first arguments
 * @param options.arch the processor, as `process.arch` names it
 * @param options.link arguments of the linker
 * @param options.work a folder for object files
 * @returns the skipped instruction sets, which the compiler does not support
 */
export async function compileAddon([command, ...first], { arch, link, work, out, jobs = 4 }) {
  const limit = limiter(jobs);
  const run = (args) =>
    limit(() => promisify(execFile)(command, [...first, ...args], { cwd: sources, maxBuffer: 2 ** 26 }));
  const compile = async (source, name, flags = []) => {
    const object = join(work, `${name}.o`);
    await run([...FLAGS.split(' '), ...flags, '-c', source, '-o', object]);
    return object;
  };
  const sets = Object.entries(instructionSets[arch] ?? { portable: '' });
  const compiled = await Promise.allSettled(
    sets.map(([name, flags]) =>
      compile('kernels.cpp', name, [...flags.split(' ').filter(Boolean), `-DMEAP_ISA=${name}`]),
    ),
  );
  // The last one needs no flags, so its failure is an error.
  const failure = compiled.at(-1).reason;
  if (failure) throw failure;
  const present = sets.map(([name]) => name).filter((_, i) => compiled[i].status === 'fulfilled');
  const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
  const list = present.map((name) => `X(${name})`).join(' ');
  const shared = await Promise.all([
    compile('addon.cpp', 'addon', ['-isystem', headers, `-DMEAP_INSTRUCTION_SETS(X)=${list}`]),
    compile('thread_pool.cpp', 'thread_pool'),
  ]);
  const objects = compiled.flatMap(({ value }) => value ?? []);
  await run([...objects, ...shared, ...link, '-o', out]);
  return sets.map(([name]) => name).filter((name) => !present.includes(name));
}

/** Returns a function that runs at most `jobs` of its arguments at once. */
function limiter(jobs) {
  let running = 0;
  const waiting = [];
  return async (work) => {
    if (running >= jobs) await new Promise((go) => waiting.push(go));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}
