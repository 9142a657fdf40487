/** Installing from a package index on loopback. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pjrtCommand } from './command.ts';
import { installPlugin } from './install.ts';
import { isCompatible, selectWheel, thisMachine, type WheelMachine } from './wheels.ts';

/** A zip archive of stored files: local headers, central directory, its end (APPNOTE 4.3). */
function zip(files: Record<string, { text: string; mode?: number }>): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  for (const [name, { text, mode = 0o644 }] of Object.entries(files)) {
    const header = Buffer.alloc(46);
    const data = Buffer.from(text);
    header.writeUInt32LE(0x02014b50, 0);
    header.writeUInt16LE(3 << 8, 4);
    header.writeUInt32LE(crc32(data), 16);
    header.writeUInt32LE(data.length, 20);
    header.writeUInt32LE(data.length, 24);
    header.writeUInt16LE(name.length, 28);
    header.writeUInt32LE((0o100000 | mode) * 0x10000, 38);
    header.writeUInt32LE(Buffer.concat(local).length, 42);
    central.push(header, Buffer.from(name));
    const start = Buffer.alloc(30);
    start.writeUInt32LE(0x04034b50, 0);
    header.copy(start, 14, 16, 30);
    local.push(start, Buffer.from(name), data);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(central.length / 2, 8);
  end.writeUInt16LE(central.length / 2, 10);
  end.writeUInt32LE(Buffer.concat(central).length, 12);
  end.writeUInt32LE(Buffer.concat(local).length, 16);
  return Buffer.concat([...local, ...central, end]);
}

function crc32(data: Buffer): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const wheel = zip({
  'xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so': { text: 'not really', mode: 0o755 },
  'xla_plugins/xla_cpu_pjrt/__init__.py': { text: '' },
});
const sha256 = createHash('sha256').update(wheel).digest('hex');
const before = { ...process.env };
let server: Server;
let work: string;
let requests: string[];
let files: object[];

beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), 'meap-pjrt-'));
  requests = [];
  files = [
    {
      filename: 'xla_cpu_pjrt-0.9-py3-none-any.whl',
      url: '../files/a.whl',
      hashes: { sha256 },
      size: wheel.length,
    },
    {
      filename: 'xla_cpu_pjrt-0.10-py3-none-any.whl',
      url: '../files/a.whl',
      hashes: { sha256 },
      size: wheel.length,
    },
  ];
  server = createServer(({ url, headers }, response) => {
    requests.push(`${url} ${headers.authorization ?? ''}`);
    if (url === '/simple/xla-cpu-pjrt/') {
      response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json');
      response.end(JSON.stringify({ files }));
    } else if (url === '/simple/files/a.whl') response.end(wheel);
    else if (url === '/simple/libtpu/') response.end('<html>');
    else response.writeHead(404).end();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  process.env.PIP_INDEX_URL = `http://user:secret@127.0.0.1:${port}/simple`;
  process.env.XDG_CACHE_HOME = work;
});
afterEach(async () => {
  for (const name of ['PIP_INDEX_URL', 'XDG_CACHE_HOME']) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  rmSync(work, { recursive: true, force: true });
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
});

const plugins = () => join(work, 'meap/pjrt/plugins');

describe('installPlugin', () => {
  it('unpacks the newest wheel, for several processes at once and only once', async () => {
    const [found] = await Promise.all([installPlugin('cpu'), installPlugin('cpu')]);
    const path = join(plugins(), 'cpu-0.10/xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so');
    expect(found).toEqual({ name: 'cpu', version: '0.10', path, source: 'installed' });
    expect(readFileSync(path, 'utf8')).toBe('not really');
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o755 & ~process.umask());
    expect(readdirSync(plugins())).toEqual(['cpu-0.10']);
    requests = [];
    expect(await installPlugin('cpu')).toEqual(found);
    expect(requests).toEqual(['/simple/xla-cpu-pjrt/ Basic dXNlcjpzZWNyZXQ=']);
  });

  it('refuses a download with another SHA-256, and leaves nothing', async () => {
    Object.assign(files[1], { hashes: { sha256: '00' } });
    await expect(installPlugin('cpu')).rejects.toThrow(
      `xla_cpu_pjrt-0.10-py3-none-any.whl: got SHA-256 ${sha256}, expected 00`,
    );
    expect(readdirSync(plugins())).toEqual([]);
  });

  it.each([
    ['nope', /got 'nope', expected one of cpu, cuda13, rocm7, tpu/],
    ['tpu', /simple\/libtpu\/: got .*, expected JSON/],
    ['cuda13', /simple\/jax-cuda13-pjrt\/: HTTP status 404/],
  ])('says what is wrong with %s', async (name, message) => {
    const error = await installPlugin(name).catch((one) => one);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('secret');
    expect(existsSync(plugins())).toBe(false);
  });

  it('says what there is no wheel for', async () => {
    files = [{ filename: 'xla_cpu_pjrt-1.0-py3-none-win32.whl', url: 'x', hashes: { sha256 } }];
    await expect(installPlugin('cpu')).rejects.toThrow(`the index has no wheel for ${process.platform}`);
  });
});

it('meap-pjrt installs, lists, and reports mistakes in one line', async () => {
  const run = async (...args: string[]) => {
    let [out, err] = ['', ''];
    const code = await pjrtCommand(args, {
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
    });
    return { code, out, err };
  };
  expect(await run('install', 'cpu')).toEqual({
    code: 0,
    out: `cpu 0.10   ${join(plugins(), 'cpu-0.10/xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so')}\n`,
    err: 'xla-cpu-pjrt 0.10   0.0 MiB\n',
  });
  expect((await run('list')).out).toContain(`cpu 0.10   installed   ${plugins()}`);
  expect(await run('install', 'gpu')).toEqual({
    code: 1,
    out: '',
    err: "meap-pjrt: install: got 'gpu', expected one of cpu, cuda13, rocm7, tpu\n",
  });
  expect((await run('nonsense')).code).toBe(2);
  writeFileSync(join(work, 'file'), '');
  process.env.XDG_CACHE_HOME = join(work, 'file');
  expect(await run('install', 'cpu')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^meap-pjrt: E\w+: .*\n$/),
  });
});

describe('selectWheel', () => {
  const machine: WheelMachine = { platform: 'linux', arch: 'x64', glibc: '2.31' };
  const select = (names: string[], below?: string, yanked?: boolean) =>
    selectWheel(
      'p',
      names.map((filename) => ({ filename, url: 'u', hashes: { sha256: 's' }, yanked })),
      machine,
      below,
    )?.filename;

  it.each<[string, string[], string | undefined, string | undefined]>([
    [
      'the newest',
      ['p-0.9.2-py3-none-any.whl', 'p-0.10.0-py3-none-any.whl'],
      undefined,
      'p-0.10.0-py3-none-any.whl',
    ],
    [
      'a post-release',
      ['p-1.0-py3-none-any.whl', 'p-1.0.post2-py3-none-any.whl'],
      undefined,
      'p-1.0.post2-py3-none-any.whl',
    ],
    [
      'no pre-release',
      ['p-2.0rc1-py3-none-any.whl', 'p-2.0.dev1-py3-none-any.whl', 'p-1.0-py3-none-any.whl'],
      undefined,
      'p-1.0-py3-none-any.whl',
    ],
    [
      'one below a version',
      ['p-14.0-py3-none-any.whl', 'p-13.9-py3-none-any.whl'],
      '14',
      'p-13.9-py3-none-any.whl',
    ],
    [
      'one for this glibc',
      [
        'p-2-py3-none-manylinux_2_35_x86_64.whl',
        'p-1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_31_x86_64.whl',
      ],
      undefined,
      'p-1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_31_x86_64.whl',
    ],
    [
      'none for others',
      ['p-1-py3-none-win_amd64.whl', 'p-1-py3-none-manylinux_2_17_aarch64.whl', 'p-1.tar.gz'],
      undefined,
      undefined,
    ],
  ])('takes %s', (_, names, below, expected) => {
    expect(select(names, below)).toBe(expected);
    expect(select(names, below, true)).toBeUndefined();
  });

  it('reads platform tags', () => {
    const mac: WheelMachine = { platform: 'darwin', arch: 'arm64' };
    expect(isCompatible('macosx_11_0_arm64', mac)).toBe(true);
    expect(isCompatible('macosx_11_0_x86_64', mac)).toBe(false);
    expect(isCompatible('manylinux2014_x86_64', machine)).toBe(true);
    expect(isCompatible('manylinux2014_x86_64', { ...machine, glibc: undefined })).toBe(false);
    expect(isCompatible('musllinux_1_2_x86_64', machine)).toBe(false);
    expect(thisMachine()).toMatchObject({ platform: process.platform, arch: process.arch });
  });
});
