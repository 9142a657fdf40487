/** A verdaccio on loopback, installed in a temporary folder: as a dependency it would add 280 packages. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// The last version for Node 20. It depends on node-fetch by a tag, which some registry mirrors lack.
const VERDACCIO = { dependencies: { verdaccio: '6.1.6' }, overrides: { 'node-fetch': '2.7.0' } };

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/**
 * Starts a registry that accepts this repository's packages from anyone and proxies all others to npm's registry.
 *
 * @param work a folder for its files
 * @returns its address, the environment with which npm and pnpm use it, and a function that stops it
 */
export async function startRegistry(work) {
  const outside = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const userconfig = join(work, 'npmrc');
  // Anyone may publish, but npm requires a token.
  writeFileSync(userconfig, `registry=${url}\n//127.0.0.1:${port}/:_authToken=rehearsal\n`);
  const env = { ...process.env, npm_config_registry: url, NPM_CONFIG_USERCONFIG: userconfig, CI: '1' };
  const config = join(work, 'verdaccio.yaml');
  // JSON is YAML. Own packages have no proxy, so that others' packages of the same name are never installed.
  const settings = {
    storage: join(work, 'storage'),
    uplinks: { outside: { url: outside, maxage: '1h', timeout: '60s' } },
    packages: {
      '{@meap/*,create-meap}': { access: '$all', publish: '$all', unpublish: '$all' },
      '**': { access: '$all', proxy: 'outside' },
    },
    web: { enable: false },
    log: { type: 'stdout', level: 'warn' },
    max_body_size: '100mb',
  };
  writeFileSync(config, JSON.stringify(settings));
  const home = join(work, 'verdaccio');
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, ...VERDACCIO }));
  execFileSync('npm', ['install', '--no-audit', '--no-fund'], { cwd: home, stdio: 'pipe' });
  const program = join(home, 'node_modules/verdaccio/bin/verdaccio');
  const listen = ['--config', config, '--listen', `127.0.0.1:${port}`];
  const server = spawn(process.execPath, [program, ...listen], { stdio: 'ignore' });
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`${url}-/ping`).catch(() => undefined);
    if (answer?.ok) break;
    if (tries > 60 || server.exitCode !== null) throw new Error(`verdaccio does not answer on ${url}`);
    await sleep(1000);
  }
  return { url, env, version: VERDACCIO.dependencies.verdaccio, stop: () => server.kill() };
}
