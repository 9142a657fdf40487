/** The optional packages of `webgpu` are not there: a copy of the built package without them, in a process of its own. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'meap-missing-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A project with this package and those of its peers that are named. */
function project(name: string, peers: string[]): string {
  const modules = join(folder, name, 'node_modules');
  const own = join(modules, '@meap/tensor-kernels');
  mkdirSync(own, { recursive: true });
  mkdirSync(join(modules, '@tensorflow'));
  for (const part of ['dist', 'package.json']) cpSync(join(root, part), join(own, part), { recursive: true });
  symlinkSync(join(root, 'build'), join(own, 'build'));
  for (const peer of peers) symlinkSync(realpathSync(join(root, 'node_modules', peer)), join(modules, peer));
  return join(folder, name);
}

async function run(cwd: string, program: string): Promise<string> {
  const start = `import { setBackend } from '@meap/tensor-kernels';`;
  const args = ['--input-type=module', '-e', start + program];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd,
    timeout: 60_000,
    env: { ...process.env, npm_config_user_agent: 'npm/11' },
  });
  return stdout.trim();
}

const BY_NAME = `await setBackend('webgpu').catch((error) => console.log(error.name + ': ' + error.message));`;
const TENSORFLOW = ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-cpu'];
const HOW = 'run npm install webgpu @tensorflow/tfjs-backend-webgpu';

it('names the packages to install if Dawn is missing, and auto selects another backend', async () => {
  const cwd = project('no-dawn', TENSORFLOW);
  expect(await run(cwd, BY_NAME)).toBe(`BackendError: webgpu: the package webgpu is not installed; ${HOW}`);
  // As on a machine with a GPU, so that `auto` tries Dawn.
  const seeGpu = `process.getBuiltinModule('node:fs').readdirSync = () => ['renderD128'];`;
  const automatic = `const { name, reason } = await setBackend('auto'); console.log(name + ': ' + reason);`;
  expect(await run(cwd, process.platform === 'linux' ? seeGpu + automatic : automatic)).toBe(
    `native: the fastest backend for a CPU (webgpu: the package webgpu is not installed; ${HOW})`,
  );
});

it('names the package if only that of TensorFlow.js is missing', async () => {
  const cwd = project('no-backend', [...TENSORFLOW, 'webgpu']);
  const said = await run(cwd, BY_NAME);
  if (!said.includes('no GPU adapter')) {
    expect(said.split('\n').at(-1)).toBe(
      `BackendError: webgpu: the package @tensorflow/tfjs-backend-webgpu is not installed; ${HOW}`,
    );
  }
});

it('reports why an installed package does not load', async () => {
  const cwd = project('broken', TENSORFLOW);
  const broken = join(cwd, 'node_modules/webgpu');
  mkdirSync(broken);
  writeFileSync(join(broken, 'package.json'), '{"name":"webgpu","type":"module","main":"index.js"}');
  writeFileSync(join(broken, 'index.js'), `throw new Error('no libvulkan.so.1');`);
  expect(await run(cwd, BY_NAME)).toBe(
    'BackendError: webgpu: the package webgpu does not load here: no libvulkan.so.1',
  );
});
