/** Finding and loading plugins; what they do is tested in plugin.slow.test.ts. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { addonPath, buildAddon, isAddonBuilt } from './build-addon.ts';
import { pjrtCommand } from './command.ts';
import { PluginError } from './errors.ts';
import { findPlugin, findPlugins } from './find-plugins.ts';
import { loadPlugin } from './plugin.ts';

let work: string;
let hasAddon = true;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'meap-pjrt-'));
  try {
    if (!isAddonBuilt()) buildAddon();
  } catch (error) {
    hasAddon = false;
    console.warn(`tests of loadPlugin are skipped: ${(error as Error).message}`);
  }
}, 120_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Sets environment variables for one test. */
function setEnvironment(variables: Record<string, string>): void {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  onTestFinished(() => {
    for (const name of Object.keys(variables)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
}

describe('loadPlugin', () => {
  it.for([
    ['no-such-file.so', 'NOT_FOUND', /no-such-file\.so: there is no such file/],
    [import.meta.filename, 'FAILED_PRECONDITION', /the library does not load: ./],
    [addonPath(), 'INVALID_ARGUMENT', /it is not a PJRT plugin: it does not export GetPjrtApi/],
  ] as [string, string, RegExp][])('refuses %s', ([file, code, message], { skip }) => {
    skip(!hasAddon, 'no C++ compiler');
    const error = catchError(() => loadPlugin(file));
    expect(error).toBeInstanceOf(PluginError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('refuses other versions of PJRT and tables that are too short', async ({ skip }) => {
    skip(!hasAddon, 'no C++ compiler');
    const fake = join(work, 'fake.so');
    const source = join(import.meta.dirname, '../fixtures/fake-plugin.c');
    execFileSync('c++', ['-x', 'c', '-shared', '-fPIC', source, '-o', fake]);
    setEnvironment({ FAKE_PLUGIN: '' });
    const load = (kind: string) => {
      process.env.FAKE_PLUGIN = kind;
      return loadPlugin(fake);
    };
    expect(() => load('major')).toThrow('speaks PJRT 1.7, expected version 0');
    expect(() => load('no-version')).toThrow('table has 8 bytes, too few');
    expect(() => load('no-events')).toThrow(
      'lacks PJRT_Event_Destroy: it speaks PJRT 0.7; use a newer version',
    );
    expect(() => load('null')).toThrow('returns no table');
    const short = load('no-client');
    expect(short.attributes).toEqual({});
    await expect(short.createClient()).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: expect.stringContaining('createClient: the plugin lacks PJRT_Client_Create'),
    });
    await expect(load('').createClient()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: 'createClient: fake',
    });
  });
});

describe('findPlugin', () => {
  it('takes MEAP_PJRT_PLUGIN first, and says where it has looked', async () => {
    const packages = join(work, 'python/lib/python3.12/site-packages/jax_plugins/xla_cuda13');
    setEnvironment({
      VIRTUAL_ENV: join(work, 'python'),
      XDG_CACHE_HOME: work,
      MEAP_PJRT_PLUGIN: '/opt/libtpu.so',
    });
    let listed = '';
    const stdout = { write: (text: string) => (listed += text) };
    expect(await pjrtCommand(['list'], { stdout, stderr: stdout })).toBe(0);
    expect(listed).toBe('tpu   MEAP_PJRT_PLUGIN   /opt/libtpu.so\n');
    mkdirSync(packages, { recursive: true });
    writeFileSync(join(packages, 'xla_cuda_plugin.so'), '');
    expect((await findPlugins()).map(({ name, source }) => [name, source])).toEqual([
      ['tpu', 'MEAP_PJRT_PLUGIN'],
      ['cuda13', 'python'],
    ]);
    expect(await findPlugin()).toBe('/opt/libtpu.so');
    expect(await findPlugin('cuda')).toBe(join(packages, 'xla_cuda_plugin.so'));
    await expect(findPlugin('cpu')).rejects.toThrow(
      `and ${join(work, 'meap/pjrt/plugins')} (found: tpu, cuda13); install one with: npx meap-pjrt install cpu`,
    );
  });
});

function catchError(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}
