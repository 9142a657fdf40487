#!/usr/bin/env node
/**
 * `npx meap-build`: compiles the kernels with this machine's C++17 compiler into the package's `build` folder, which the
 * loader prefers to the prebuilt binary. No downloads: headers come from the npm package node-api-headers.
 *
 * `--if-possible`, for the workspace: without a compiler it prints one line and exits with code 0.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { compileAddon, sources } from './compile.mjs';

const buildDirectory = join(sources, '..', 'build');
const addon = join(buildDirectory, 'meap_kernels.node');
const stampFile = join(buildDirectory, 'stamp.txt');
const say = (message) => console.log(`@meap/tensor-kernels: ${message}`);

const LINK = {
  darwin: ['-bundle', '-undefined', 'dynamic_lookup'],
  // Users have no C++ runtime of MinGW on their path.
  win32: ['-shared', '-static'],
}[process.platform] ?? ['-shared', '-pthread'];

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
      // Not installed or not executable.
    }
  }
  return undefined;
}

const args = process.argv.slice(2);
const isOptional = args.includes('--if-possible');
const unknown = args.find((arg) => arg !== '--if-possible');
if (unknown !== undefined) {
  const isHelp = unknown === '--help' || unknown === '-h';
  const usage =
    'usage: meap-build [--if-possible]: compiles the kernels with $CXX, c++, g++ or clang++ (C++17)';
  console.log(isHelp ? usage : `meap-build: unknown argument, got '${unknown}'\n${usage}`);
  process.exit(isHelp ? 0 : 1);
}

/** Reports a failure, an error unless the build is optional. */
function giveUp(reason) {
  say(isOptional ? `${reason}; stock tfjs-wasm will run instead, many times slower` : reason);
  process.exitCode = isOptional ? 0 : 1;
}

async function build() {
  const found = findCompiler();
  if (!found) return giveUp('no C++17 compiler found (tried $CXX, c++, g++, clang++)');
  const { compiler, version } = found;
  const files = readdirSync(sources).filter((file) => /\.(cpp|h)$|^compile\.mjs$/.test(file));
  const contents = files.sort().map((file) => readFileSync(join(sources, file)));
  const stamp = createHash('sha256')
    .update([version, process.arch, ...contents].join('\0'))
    .digest('hex');
  const isCurrent = existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
  if (isCurrent) return isOptional || say(`the native kernels in ${addon} are up to date`);

  const work = join(buildDirectory, `tmp-${process.pid}`);
  const started = Date.now();
  try {
    mkdirSync(work, { recursive: true });
    const out = join(work, 'meap_kernels.node');
    const jobs = availableParallelism();
    const leftOut = await compileAddon([compiler], { arch: process.arch, link: LINK, work, out, jobs });
    for (const name of leftOut) say(`skipped ${name}: the compiler does not support its flags`);
    // Running programs keep the old file.
    renameSync(out, addon);
    writeFileSync(stampFile, stamp);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    say(`built the native kernels with ${version.split('\n')[0]} in ${seconds} s`);
  } catch (error) {
    // The build of older sources must not remain.
    rmSync(addon, { force: true });
    const lines = String(error.stderr || error.message).split('\n');
    giveUp(`the native kernels did not build: ${lines.find((line) => /error/i.test(line)) ?? error.message}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

await build();
