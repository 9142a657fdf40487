/**
 * What users install: every publishable package packed, its tarball installed by pnpm into an empty project,
 * and its README's example run there in plain Node against the built `dist`.
 *
 * Third-party dependencies are linked to where the workspace has them, and pnpm runs offline: a lockfile
 * install leaves no registry metadata behind, so resolving them anew would need the network. The packages
 * themselves, their install script and their bins go through a real installation.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Manifest {
  name: string;
  private?: boolean;
  packageManager?: string;
  bin?: Record<string, string>;
  /** A dependency's commands are there: an install before the build would miss them. */
  publishConfig?: { bin?: Record<string, string> };
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}
interface Packed {
  name: string;
  filename: string;
  files: { path: string }[];
}

const root = resolve(import.meta.dirname, '../../..');
const readManifest = (directory: string): Manifest =>
  JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));

function pnpm(directory: string, ...args: string[]): string {
  // Tests run under pnpm as a rule; npx finds it in its cache otherwise.
  const running = process.env.npm_execpath ?? '';
  const [command, ...before] = /pnpm[^/\\]*$/.test(running)
    ? [process.execPath, running]
    : ['npx', '-y', '--prefer-offline', readManifest(root).packageManager!];
  return execFileSync(command, [...before, ...args], { cwd: directory, encoding: 'utf8' });
}

const listed: { name: string; path: string; private: boolean }[] = JSON.parse(
  pnpm(root, 'list', '--recursive', '--depth', '-1', '--json'),
);
const packages = listed
  .filter((entry) => !entry.private)
  .map(({ name, path }) => ({ name, path, manifest: readManifest(path) }));

let folder: string;
let project: string;
let packed: Map<string, Packed>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-pack-'));
  project = join(folder, 'project');
  mkdirSync(project);
  const filters = packages.flatMap(({ name }) => ['--filter', name]);
  const reports: Packed[] = JSON.parse(
    pnpm(root, '--recursive', ...filters, 'pack', '--json', '--pack-destination', folder),
  );
  packed = new Map(reports.map((report) => [report.name, report]));

  const overrides: Record<string, string> = {};
  const peers: string[] = [];
  for (const { path, manifest } of packages) {
    peers.push(...Object.keys(manifest.peerDependencies ?? {}));
    const { dependencies, optionalDependencies, peerDependencies } = manifest;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      overrides[name] ??= `link:${realpathSync(join(path, 'node_modules', name))}`;
    }
  }
  for (const { name, filename } of reports) overrides[name] = `file:${filename}`;
  const wanted = [...packages.map(({ name }) => name), ...peers];
  const dependencies = Object.fromEntries(wanted.map((name) => [name, overrides[name]]));
  const manifest = { name: 'consumer', private: true, type: 'module', dependencies };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  // YAML holds JSON. Everything but our own packages is a link, so that builds are our own install script;
  // without the cache of its effects it runs every time.
  const settings = { overrides, dangerouslyAllowAllBuilds: true, sideEffectsCache: false };
  writeFileSync(join(project, 'pnpm-workspace.yaml'), JSON.stringify(settings));
  pnpm(project, 'install', '--offline');
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' });

describe.each(packages)('$name from its tarball', ({ name, path, manifest }) => {
  const bin = manifest.bin ?? manifest.publishConfig?.bin;
  const installed = (file: string) => join(project, 'node_modules', name, file);

  it('holds what users need and nothing of ours', () => {
    const files = packed.get(name)!.files.map((file) => file.path);
    for (const needed of ['package.json', 'README.md', 'LICENSE', 'dist/index.js', 'dist/index.d.ts']) {
      expect(files).toContain(needed);
    }
    expect(files.filter((file) => /\.test\.|\.tsbuildinfo$|^fixtures|^src/.test(file))).toEqual([]);
    expect(readFileSync(installed('package.json'), 'utf8')).not.toMatch(/"(workspace|catalog):/);
  });

  it('exports what its source does', () => {
    const source = readFileSync(join(path, 'src/index.ts'), 'utf8');
    const program = `console.log(JSON.stringify(Object.keys(await import(${JSON.stringify(name)}))))`;
    const names: string[] = JSON.parse(node('--input-type=module', '-e', program));
    expect(names).not.toEqual([]);
    for (const exported of names) expect(source).toMatch(new RegExp(`\\b${exported}\\b`));
  });

  it.skipIf(bin)('runs the example of its README', () => {
    const [, example, output] =
      readFileSync(installed('README.md'), 'utf8').match(/```js\n(.*?)```\s*```\w*\n(.*?)```/s) ??
      expect.fail('README.md has no js example followed by its output');
    const file = join(project, `${name.replace(/\W/g, '-')}.mjs`);
    writeFileSync(file, example);
    // Numbers, and what is told of the machine in between, differ from one to another.
    const frame = (text: string) => {
      const lines = text.trim().split('\n');
      return [lines[0], lines.at(-1)].map((line) => line?.replace(/[\d.]+(e-\d+)?/g, '#'));
    };
    expect(frame(node(file))).toEqual(frame(output));
  });

  it.each(Object.keys(bin ?? {}))('has a command %s that explains itself', (command) => {
    const help = execFileSync(join(project, 'node_modules/.bin', command), ['--help'], { encoding: 'utf8' });
    expect(help).toContain(command);
  });
});

it.skipIf(!existsSync(join(root, 'packages/tensor-kernels/build/meap_kernels.node')))(
  'builds the native kernels while installing, and runs them',
  () => {
    const addon = 'node_modules/@meap/tensor-kernels/build/meap_kernels.node';
    expect(existsSync(join(project, addon))).toBe(true);
    const program = `
      import { describeBackend, rmsNorm, setBackend } from '@meap/tensor-kernels';
      import * as tf from '@tensorflow/tfjs';
      await setBackend('native');
      const sum = tf.sum(rmsNorm(tf.fill([2, 64], 3), tf.ones([64]), 0));
      console.log(describeBackend().name, sum.dataSync()[0]);
    `;
    expect(node('--input-type=module', '-e', program).trim()).toBe('native 128');
  },
);
