/**
 * Tests the packages as users install them: packs each one, installs the tarballs into an empty project with pnpm, runs
 * the examples of READMEs there in Node, and compiles all examples and declarations as strict TypeScript.
 *
 * Third-party dependencies are linked from the workspace, since resolving them would need the network. The packages and
 * their bins are really installed, without running scripts: the kernels come with this platform's package, which
 * contains the local build.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Manifest {
  name: string;
  private?: boolean;
  packageManager?: string;
  bin?: Record<string, string>;
  /** The bins of published packages are here, since they do not exist before the build. */
  publishConfig?: { bin?: Record<string, string>; os?: string[]; cpu?: string[]; libc?: string[] };
  scripts?: Record<string, string>;
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
  // Uses the pnpm that runs the tests, else npx.
  const running = process.env.npm_execpath ?? '';
  const [command, ...before] = /pnpm[^/\\]*$/.test(running)
    ? [process.execPath, running]
    : ['npx', '-y', '--prefer-offline', readManifest(root).packageManager!];
  return execFileSync(command, [...before, ...args], { cwd: directory, encoding: 'utf8' });
}

const listed: { name: string; path: string; private: boolean }[] = JSON.parse(
  pnpm(root, 'list', '--recursive', '--depth', '-1', '--json'),
);
const published = listed
  .filter((entry) => !entry.private)
  .map(({ name, path }) => ({ name, path, manifest: readManifest(path) }));
const packages = published.filter(({ manifest }) => !manifest.publishConfig?.os);
const platforms = published.filter(({ manifest }) => manifest.publishConfig?.os);
const localBuild = join(root, 'packages/tensor-kernels/build/meap_kernels.node');

/** The code examples of all READMEs by their file name in the project's `examples`. */
const examples = new Map(
  ['.', ...['packages', 'apps'].flatMap((kind) => readdirSync(join(root, kind)).map((n) => join(kind, n)))]
    .map((directory) => ({ directory, file: join(root, directory, 'README.md') }))
    .filter(({ file }) => existsSync(file))
    .flatMap(({ directory, file }) =>
      [...readFileSync(file, 'utf8').matchAll(/```(?:js|ts)\n(.*?)```/gs)].map(
        ([, code], i) => [exampleName(directory, i), code] as const,
      ),
    ),
);
function exampleName(directory: string, index: number): string {
  return `${directory.replace(/\W/g, '-')}-${index}`;
}

const strictest = {
  target: 'es2023',
  module: 'nodenext',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
};

let folder: string;
let project: string;
let packed: Map<string, Packed>;
let platform: { name: string; filename: string } | undefined;
let errors: string[];
/** The names that each package exports. */
let exported: Record<string, string[]>;

/** Compiles files of the project and returns the errors, one per line; emits despite errors. */
function compile(compilerOptions: object, files: readonly string[]): string[] {
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  const compiler = join(project, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [compiler, '--pretty', 'false'], {
    cwd: project,
    encoding: 'utf8',
  });
  return stdout.split('\n').filter((line) => line !== '');
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-pack-'));
  project = join(folder, 'project');
  mkdirSync(project);
  const filters = packages.flatMap(({ name }) => ['--filter', name]);
  // The output of pack scripts precedes the JSON.
  const report = pnpm(root, '--recursive', ...filters, 'pack', '--json', '--pack-destination', folder);
  const reports: Packed[] = JSON.parse(report.slice(report.search(/^\[/m)));
  packed = new Map(reports.map((report) => [report.name, report]));

  const overrides: Record<string, string> = {};
  const peers: string[] = [];
  for (const { path, manifest } of packages) {
    peers.push(...Object.keys(manifest.peerDependencies ?? {}));
    const { dependencies, optionalDependencies, peerDependencies } = manifest;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const linked = join(path, 'node_modules', name);
      // Optional peers may be missing.
      if (existsSync(linked)) overrides[name] ??= `link:${realpathSync(linked)}`;
    }
  }
  for (const { name, filename } of reports) overrides[name] = `file:${filename}`;
  // '-' excludes a dependency, like the packages of other platforms.
  for (const { name } of platforms) overrides[name] = '-';
  platform = packPlatform();
  if (platform) overrides[platform.name] = `file:${platform.filename}`;
  const tools = ['typescript', '@types/node'];
  for (const name of tools) overrides[name] = `link:${realpathSync(join(root, 'node_modules', name))}`;
  const all = realpathSync(join(root, 'packages/tensor-kernels/node_modules/@tensorflow/tfjs'));
  overrides['@tensorflow/tfjs'] = `link:${all}`;
  const names = [...packages.map(({ name }) => name), ...peers, ...tools, '@tensorflow/tfjs'];
  const wanted = names.filter((name) => overrides[name] !== undefined);
  const dependencies = Object.fromEntries(wanted.map((name) => [name, overrides[name]]));
  const manifest = { name: 'consumer', private: true, type: 'module', dependencies };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  // YAML holds JSON.
  const settings = { overrides };
  writeFileSync(join(project, 'pnpm-workspace.yaml'), JSON.stringify(settings));
  pnpm(project, 'install', '--offline');
  mkdirSync(join(project, 'examples'));
  for (const [name, code] of examples) writeFileSync(join(project, 'examples', `${name}.ts`), code);
  errors = compile(
    { ...strictest, skipLibCheck: true, types: ['node'], rootDir: 'examples', outDir: 'compiled' },
    [...examples.keys()].map((name) => `examples/${name}.ts`),
  );
  // One process for all: most of its time is TensorFlow.js.
  const program = `
    const exported = {};
    for (const name of ${JSON.stringify(packages.map(({ name }) => name))}) exported[name] = Object.keys(await import(name));
    console.log(JSON.stringify(exported));
    process.exit();
  `;
  exported = JSON.parse(node('--input-type=module', '-e', program));
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Packs this platform's package with the local build, as for a release. */
function packPlatform(): { name: string; filename: string } | undefined {
  const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
  const own = platforms.find(({ manifest: { publishConfig } }) => {
    const { os, cpu, libc: libcs = [libc] } = publishConfig!;
    return os!.includes(process.platform) && cpu!.includes(process.arch) && libcs.includes(libc);
  });
  if (!own || !existsSync(localBuild)) return undefined;
  // Its pack script refers to ../../native.
  const kernels = join(folder, 'kernels');
  cpSync(join(root, 'packages/tensor-kernels/native'), join(kernels, 'native'), { recursive: true });
  const staged = join(kernels, 'platforms/own');
  cpSync(own.path, staged, { recursive: true });
  rmSync(join(staged, 'meap_kernels.node'), { force: true });
  expect(() => pnpm(staged, 'pack')).toThrow();
  copyFileSync(localBuild, join(staged, 'meap_kernels.node'));
  // The output of its pack script precedes the JSON.
  const report = pnpm(staged, 'pack', '--json', '--pack-destination', folder);
  const { filename }: Packed = JSON.parse(report.slice(report.search(/^\{/m)));
  return { name: own.name, filename };
}

const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' });

describe.each(packages)('$name from its tarball', ({ name, path, manifest }) => {
  const bin = manifest.bin ?? manifest.publishConfig?.bin;
  const installed = (file: string) => join(project, 'node_modules', name, file);

  it('contains the built files and no sources', () => {
    const files = packed.get(name)!.files.map((file) => file.path);
    for (const needed of [
      'package.json',
      'README.md',
      'LICENSE',
      'dist/index.js',
      'dist/modules/index.d.ts',
    ]) {
      expect(files).toContain(needed);
    }
    expect(files.filter((file) => /\.test\.|\.tsbuildinfo$|^fixtures|^src/.test(file))).toEqual([]);
    expect(readFileSync(installed('package.json'), 'utf8')).not.toMatch(/"(workspace|catalog):/);
  });

  it('exports the names of its source', () => {
    const source = readFileSync(join(path, 'src/index.ts'), 'utf8');
    expect(exported[name]).not.toEqual([]);
    for (const one of exported[name]) expect(source).toMatch(new RegExp(`\\b${one}\\b`));
  });

  it.skipIf(bin)('runs the example of its README', () => {
    const [, output] =
      readFileSync(installed('README.md'), 'utf8').match(
        /```(?:js|ts)\n.*?```\s*(?:<!--.*?-->\s*)?```\w*\n(.*?)```/s,
      ) ?? expect.fail('README.md has no example followed by its output');
    const file = join(project, 'compiled', `${exampleName(relative(root, path), 0)}.js`);
    // Compares first and last line without numbers, since the rest depends on the machine.
    const frame = (text: string) => {
      const lines = text.trim().split('\n');
      return [lines[0], lines.at(-1)].map((line) => line?.replace(/[\d.]+(e-\d+)?/g, '#'));
    };
    expect(frame(node(file))).toEqual(frame(output));
  });

  it.each(Object.keys(bin ?? {}))('has a command %s with --help', (command) => {
    const help = execFileSync(join(project, 'node_modules/.bin', command), ['--help'], { encoding: 'utf8' });
    expect(help).toContain(command);
  });
});

it.each([
  ['pretrain', 'quickstart', /data\.npm: texts are not installed.* run \w+ \w+ @stdlib\/datasets-moby/],
  ['finetune', 'lora', /model\.path: got nothing/],
  ['evaluate', 'niah', /model\.path: got nothing/],
])('@meap/%s finds its recipes in its tarball by name', (app, recipe, message) => {
  const own = readdirSync(join(root, 'recipes', app));
  const files = packed.get(`@meap/${app}`)!.files.map(({ path }) => path);
  expect(files.filter((path) => path.startsWith('recipes/')).sort()).toEqual(
    own.map((name) => `recipes/${name}`).sort(),
  );
  const commands = app === 'evaluate' ? ['run'] : [];
  const run = (...args: string[]) => {
    const command = join(project, 'node_modules/.bin', `meap-${app}`);
    const { stdout, stderr } = spawnSync(command, [...commands, ...args, '--dry-run'], {
      cwd: project,
      encoding: 'utf8',
      // pnpm sets NODE_PATH to folders that contain the texts.
      env: { ...process.env, NODE_PATH: '' },
    });
    return stdout + stderr;
  };
  expect(run('--config', recipe)).toMatch(message);
});

it('compiles the examples of every README', () => {
  expect(errors).toEqual([]);
});

it('has declarations that compile with skipLibCheck: false and without the types of Node', () => {
  const imports = packages.map(({ name }) => `import '${name}';\n`).join('');
  writeFileSync(join(project, 'all.ts'), imports);
  const options = { ...strictest, skipLibCheck: false, lib: ['es2023', 'dom'], types: [], noEmit: true };
  // TensorFlow.js depends on older WebGPU types than TypeScript's, and lacks the types of `long`.
  const theirs = /^\S*node_modules\/(@tensorflow\/tfjs|@webgpu\/types|@typescript|typescript)\S*\.d\.ts\(/;
  const found = compile(options, ['all.ts']).filter((line) => !/^\s/.test(line) && !theirs.test(line));
  expect(found).toEqual([]);
});

it.each(packages)('$name declares what it imports', ({ name, manifest }) => {
  const { dependencies, optionalDependencies, peerDependencies } = manifest;
  const declared = new Set(Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }));
  // It would add 240 MB to every install.
  expect([...declared]).not.toContain('@tensorflow/tfjs');
  const directory = join(project, 'node_modules', name, 'dist');
  const texts = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(js|d\.ts)$/.test(file))
    .map((file) => readFileSync(join(directory, file), 'utf8'));
  const patterns = [
    /^(?:import|export)\b[^'";]*\bfrom ['"]((?:@[^/'"]+\/)?[^./'"][^/'"]*)/gm,
    /(?:^import |\bimport\(|<reference types=)['"]((?:@[^/'"]+\/)?[^./'"][^/'"]*)/gm,
  ];
  const imported = texts.flatMap((text) =>
    patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, module]) => module)),
  );
  expect(imported.filter((module) => !/^(node:|#)/.test(module) && !declared.has(module))).toEqual([]);
});

it.each(['@meap/tensor-kernels', '@tensorflow/tfjs'])(
  'shares the engine of all of TensorFlow.js, with %s loaded first',
  (first) => {
    const program = `
      await import('${first}');
      const { linear, setBackend } = await import('@meap/tensor-kernels');
      const { default: tf } = await import('@tensorflow/tfjs');
      await setBackend('wasm');
      const dense = tf.layers.dense({ units: 2, kernelInitializer: 'ones' });
      const loss = (x) => linear(x, x).square().add(dense.apply(x)).sum();
      console.log(...tf.grad(loss)(tf.tensor2d([[1, 2], [3, 4]])).dataSync());
    `;
    expect(node('--input-type=module', '-e', program).trim()).toBe('154 218 346 490');
  },
);

it('no package has an install script, which most package managers would not run', () => {
  for (const { name, manifest } of published) {
    const scripts = Object.keys(manifest.scripts ?? {}).filter((script) =>
      /^(pre|post)?install$/.test(script),
    );
    expect(scripts, name).toEqual([]);
  }
});

it.skipIf(!existsSync(localBuild))('the native kernels work right after the install', () => {
  expect(existsSync(join(project, 'node_modules/@meap/tensor-kernels/build'))).toBe(false);
  const program = `
    import { describeBackend, rmsNorm, setBackend } from '@meap/tensor-kernels';
    import * as tf from '@tensorflow/tfjs-core';
    await setBackend('native');
    const sum = tf.sum(rmsNorm(tf.fill([2, 64], 3), tf.ones([64]), 0));
    console.log(describeBackend().name, sum.dataSync()[0]);
  `;
  expect(node('--input-type=module', '-e', program).trim()).toBe('native 128');
});

it.skipIf(!existsSync(localBuild))('platform packages declare their systems', () => {
  const { name, filename } = platform!;
  const text = execFileSync('tar', ['xOf', filename, 'package/package.json'], { encoding: 'utf8' });
  const { os, cpu, libc } = platforms.find((own) => own.name === name)!.manifest.publishConfig!;
  expect(JSON.parse(text)).toMatchObject({ os, cpu, ...(libc && { libc }), main: 'meap_kernels.node' });
  const files = execFileSync('tar', ['tf', filename], { encoding: 'utf8' }).trim().split('\n').sort();
  const expected = ['README.md', 'meap_kernels.node', 'package.json'];
  expect(files).toEqual(expected.map((file) => `package/${file}`));
});
