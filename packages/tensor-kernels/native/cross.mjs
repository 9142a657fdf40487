#!/usr/bin/env node
/**
 * Compiles the kernels for every platform on one Linux machine: `node native/cross.mjs [FOLDER ...]`, by default for all of
 * platforms.mjs, else for folders such as linux-x64-gnu; `--out DIR` replaces the platforms' packages as the destination.
 *
 * The compiler is zig's clang from PyPI, pinned by hash, in a virtual environment in the user's cache, created on first use.
 * The same sources give the same bytes in any folder.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compileAddon, sources } from './compile.mjs';
import { ADDON, platforms, platformsDirectory } from './platforms.mjs';

const ZIG = '0.17.1';

/** Returns the compiler; creates its virtual environment if there is none. */
function findZig() {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
  const environment = join(cache, `ziglang-${ZIG}`);
  const python = join(environment, 'bin/python');
  if (!existsSync(join(environment, 'complete'))) {
    rmSync(environment, { recursive: true, force: true });
    mkdirSync(cache, { recursive: true });
    execFileSync('python3', ['-m', 'venv', environment], { stdio: ['ignore', 'ignore', 'inherit'] });
    const requirements = join(sources, 'ziglang.txt');
    const options = ['--quiet', '--disable-pip-version-check', '--require-hashes', '--only-binary=:all:'];
    execFileSync(python, ['-m', 'pip', 'install', ...options, '-r', requirements], { stdio: 'inherit' });
    writeFileSync(join(environment, 'complete'), '');
  }
  const code = "import ziglang, os; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))";
  return execFileSync(python, ['-c', code], { encoding: 'utf8' }).trim();
}

/** Arguments of the linker: export only the functions that Node looks up, and record neither time nor path. */
const LINK = {
  linux: ['-shared', '-pthread', '-Wl,--build-id=none', '-Wl,--version-script=exports.map'],
  darwin: ['-shared', '-Wl,-undefined,dynamic_lookup', `-Wl,-install_name,@rpath/${ADDON}`],
  win32: ['-shared'],
};

async function cross(zig, { target, os, cpu, folder }, directory) {
  const work = mkdtempSync(join(tmpdir(), 'meap-cross-'));
  try {
    const out = join(work, ADDON);
    const link = [...LINK[os], '-s'];
    const jobs = availableParallelism();
    const compiler = [zig, 'c++', '-target', target, '-g0'];
    const leftOut = await compileAddon(compiler, { arch: cpu, link, work, out, jobs });
    if (leftOut.length > 0) throw new Error(`${folder}: ${leftOut.join(', ')} did not compile`);
    mkdirSync(directory, { recursive: true });
    const bytes = readFileSync(out);
    const destination = join(directory, ADDON);
    writeFileSync(`${destination}.tmp`, bytes);
    renameSync(`${destination}.tmp`, destination);
    const digest = createHash('sha256').update(bytes).digest('hex');
    console.log(`${folder.padEnd(17)} ${String(bytes.length).padStart(8)} bytes  sha256 ${digest}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string' } } });
const unknown = positionals.find((name) => !platforms.some(({ folder }) => folder === name));
if (unknown !== undefined) {
  const names = platforms.map(({ folder }) => folder).join(', ');
  console.error(`cross: unknown platform, got '${unknown}', expected some of ${names}`);
  process.exit(1);
}
const wanted = platforms.filter(({ folder }) => positionals.length === 0 || positionals.includes(folder));
const out = resolve(values.out ?? platformsDirectory);
const zig = findZig();
// Windows libraries contain a timestamp.
process.env.SOURCE_DATE_EPOCH = '0';
for (const platform of wanted) await cross(zig, platform, join(out, platform.folder));
