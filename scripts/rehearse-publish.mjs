/**
 * A release without the world: `node scripts/rehearse-publish.mjs`, by hand, some minutes, needs the npm registry.
 *
 * Clones this repository, lets changesets turn its changes into versions, publishes every package to a verdaccio on
 * loopback, installs each from there into an empty project of its own, and runs its README's example (of programs,
 * their help). Nothing outside a temporary folder is touched. verdaccio is installed there too: it would be 280 packages
 * more for everybody.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// The last that runs on Node 20. It names node-fetch by a tag, which not every registry passes on.
const VERDACCIO = { dependencies: { verdaccio: '6.1.6' }, overrides: { 'node-fetch': '2.7.0' } };
const root = resolve(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'meap-rehearsal-'));
const copy = join(work, 'repository');
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const run = (cwd, command, ...args) =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    env,
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
const pnpm = (cwd, ...args) => run(cwd, 'npx', '-y', packageManager, ...args);
const say = (text) => console.log(text);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

const outside = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim();
const port = await freePort();
const registry = `http://127.0.0.1:${port}/`;
const userconfig = join(work, 'npmrc');
// Anybody may publish there; npm asks for a token all the same.
writeFileSync(userconfig, `registry=${registry}\n//127.0.0.1:${port}/:_authToken=rehearsal\n`);
const env = { ...process.env, npm_config_registry: registry, NPM_CONFIG_USERCONFIG: userconfig, CI: '1' };
const config = join(work, 'verdaccio.yaml');
// YAML holds JSON. Ours are never looked for outside, so that names that somebody else has do not get in.
writeFileSync(
  config,
  JSON.stringify({
    storage: join(work, 'storage'),
    uplinks: { outside: { url: outside, maxage: '1h', timeout: '60s' } },
    packages: {
      '@meap/*': { access: '$all', publish: '$all', unpublish: '$all' },
      '**': { access: '$all', proxy: 'outside' },
    },
    web: { enable: false },
    log: { type: 'stdout', level: 'warn' },
    max_body_size: '100mb',
  }),
);
let server;

try {
  const home = join(work, 'verdaccio');
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, ...VERDACCIO }));
  execFileSync('npm', ['install', '--no-audit', '--no-fund'], { cwd: home, stdio: 'pipe' });
  const program = join(home, 'node_modules/verdaccio/bin/verdaccio');
  const listen = ['--config', config, '--listen', `127.0.0.1:${port}`];
  server = spawn(process.execPath, [program, ...listen], { stdio: 'ignore' });
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`${registry}-/ping`).catch(() => undefined);
    if (answer?.ok) break;
    if (tries > 60 || server.exitCode !== null) throw new Error(`verdaccio does not answer on ${registry}`);
    await sleep(1000);
  }
  say(`registry     verdaccio ${VERDACCIO.dependencies.verdaccio} on ${registry}`);

  run(root, 'git', 'clone', '--quiet', root, copy);
  pnpm(copy, 'install', '--frozen-lockfile', '--prefer-offline');
  pnpm(copy, 'exec', 'changeset', 'version');
  const packages = JSON.parse(pnpm(copy, 'list', '--recursive', '--depth', '-1', '--json'))
    .filter((entry) => !entry.private)
    .map(({ name, path, version }) => ({ name, path, version }));
  if (readdirSync(join(copy, '.changeset')).some((name) => name.endsWith('.md') && name !== 'README.md')) {
    throw new Error('changeset version left changesets behind');
  }
  for (const { name, path } of packages) {
    const file = join(path, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    // Only a hosted build can prove where it comes from.
    delete manifest.publishConfig.provenance;
    writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
    if (!readFileSync(join(path, 'CHANGELOG.md'), 'utf8').includes(`# ${name}`))
      throw new Error(`${name}: no changelog`);
  }
  pnpm(copy, 'run', 'build');
  run(
    copy,
    'git',
    '-c',
    'user.name=rehearsal',
    '-c',
    'user.email=rehearsal@localhost',
    'commit',
    '-qam',
    'version',
  );
  pnpm(copy, 'exec', 'changeset', 'publish', '--no-git-tag');
  for (const { name, version } of packages) {
    const published = run(work, 'npm', 'view', `${name}@${version}`, 'version').trim();
    if (published !== version) throw new Error(`${name}: the registry has ${published}, expected ${version}`);
  }
  say(`published    ${packages.length} packages of version ${packages[0].version}`);

  for (const { name, version } of packages) {
    const project = join(work, name.replace('@meap/', ''));
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    run(project, 'npm', 'install', '--no-audit', '--no-fund', `${name}@${version}`);
    const installed = join(project, 'node_modules', name);
    const { bin = {} } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    for (const command of Object.keys(bin)) {
      const help = run(project, join(project, 'node_modules/.bin', command), '--help');
      if (!help.includes(command)) throw new Error(`${command} --help says ${help}`);
    }
    const example = /```js\n(.*?)```\s*```\w*\n/s.exec(
      readFileSync(join(installed, 'README.md'), 'utf8'),
    )?.[1];
    const isProgram = Object.keys(bin).length > 0;
    if (!example && !isProgram) throw new Error(`${name}: its README has no example`);
    if (!isProgram) {
      writeFileSync(join(project, 'example.mjs'), example);
      if (!run(project, process.execPath, 'example.mjs').trim())
        throw new Error(`${name}: its example says nothing`);
    }
    say(
      `installed    ${name}@${version}, ${isProgram ? `${Object.keys(bin).join(', ')} --help` : 'its example runs'}`,
    );
    rmSync(project, { recursive: true, force: true });
  }
} catch (error) {
  // What a program says before it fails is most of what there is to know.
  console.error(error.stdout ?? '', error.stderr ?? '', error.message);
  process.exitCode = 1;
} finally {
  server?.kill();
  rmSync(work, { recursive: true, force: true });
}
