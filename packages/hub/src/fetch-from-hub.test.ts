import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { FakeHub } from '@meap/test-support';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchFromHub, type HubEvent, type Wanted } from './fetch-from-hub.ts';
import { fetchHubFile, listHubFiles, pinHubAddress } from './hub-files.ts';
import type { HubSettings } from './hub-settings.ts';

const large = (seed: number) => Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * seed) % 251));

let hub: FakeHub;
let settings: HubSettings;
let cache: string;
let events: HubEvent[];

beforeEach(async () => {
  hub = new FakeHub();
  hub.repositories.set('me/tiny', {
    files: {
      'README.md': '# tiny',
      'config.json': '{"model_type":"llama"}',
      'model-00001-of-00002.safetensors': large(3),
      'model-00002-of-00002.safetensors': large(5),
      'model.safetensors.index.json': '{}',
      'original/consolidated.00.pth': large(7),
      'pytorch_model.bin': large(11),
      'tokenizer.json': '{"model":{}}',
    },
  });
  hub.repositories.set('datasets/me/texts', {
    files: {
      'en/train-2.jsonl': '{"text":"two"}\n',
      'en/train-10.jsonl': '{"text":"ten"}\n',
      'en/train-1.jsonl': large(3),
      'en/valid.jsonl': '{"text":"valid"}\n',
      'de/train-1.jsonl': '{"text":"eins"}\n',
    },
  });
  cache = mkdtempSync(join(tmpdir(), 'meap-hub-'));
  settings = { endpoint: await hub.start(), isOffline: false, cache, retryMs: 1 };
  events = [];
});
afterEach(async () => {
  await hub.close();
  rmSync(cache, { recursive: true, force: true });
});

const get = (address: string, wanted: Wanted = 'model', more: Partial<HubSettings> = {}) =>
  fetchFromHub(address, {
    wanted,
    settings: { ...settings, ...more },
    onEvent: (event) => events.push(event),
  });
const message = (address: string, wanted: Wanted = 'model', more: Partial<HubSettings> = {}) =>
  get(address, wanted, more).then(
    () => expect.fail('fetched'),
    (error: Error) => `${error.name}: ${error.message}`,
  );
const repository = () => join(cache, 'models--me--tiny');

describe('a model', () => {
  it('has only the files that are read, in the layout of huggingface_hub', async () => {
    const { folder, commit, files } = await get('hf://me/tiny');
    expect(commit).toBe(hub.commitOf('me/tiny'));
    expect(folder).toBe(join(repository(), 'snapshots', commit));
    expect(files.map((file) => relative(folder, file))).toEqual([
      'config.json',
      'model.safetensors.index.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'tokenizer.json',
    ]);
    expect(readFileSync(join(folder, 'model-00002-of-00002.safetensors'))).toEqual(large(5));
    expect(readFileSync(join(repository(), 'refs/main'), 'utf8')).toBe(commit);
    // The blob of a small file has the name that git gives it, that of a large one its SHA-256.
    expect(readlinkSync(join(folder, 'config.json'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect(readlinkSync(files[2])).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(readdirSync(join(repository(), 'blobs'))).toHaveLength(5);
    const sizes = events.map((event) => (event.type === 'progress' ? event.bytes : Number.NaN));
    expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
    expect(events.at(-1)).toEqual({
      type: 'progress',
      name: 'me/tiny',
      files: 5,
      bytes: 100_036,
      totalBytes: 100_036,
    });
  });

  it('is not fetched twice, and needs no network then', async () => {
    const first = await get('hf://me/tiny');
    const { length } = hub.downloads;
    expect(await get('hf://me/tiny')).toEqual(first);
    expect(hub.downloads).toHaveLength(length);
    const { length: requests } = hub.requests;
    expect(await get('hf://me/tiny', 'model', { isOffline: true })).toEqual(first);
    expect(hub.requests).toHaveLength(requests);
    await hub.close();
    events.length = 0;
    expect(await get('hf://me/tiny')).toEqual(first);
    expect(events).toEqual([expect.objectContaining({ type: 'unreachable', name: 'me/tiny' })]);
  });

  it('follows its branch, and stays where a commit is given', async () => {
    const before = hub.commitOf('me/tiny');
    await get('hf://me/tiny');
    hub.repositories.get('me/tiny')!.files['config.json'] = '{"model_type":"mistral"}';
    const after = await get('hf://me/tiny');
    expect(after.commit).not.toBe(before);
    expect(readFileSync(after.files[0], 'utf8')).toContain('mistral');
    expect((await get(`hf://me/tiny@${before}`, 'model', { isOffline: true })).commit).toBe(before);
    // Weights that did not change are not fetched again.
    expect(hub.downloads.filter(({ path }) => path.includes('blob'))).toHaveLength(2);
  });

  it('is refused without safetensors', async () => {
    hub.repositories.set('me/old', { files: { 'config.json': '{}', 'pytorch_model.bin': large(2) } });
    expect(await message('hf://me/old')).toBe(
      'HubError: me/old: has no weights in safetensors, got config.json, pytorch_model.bin; expected model.safetensors, ' +
        'its shards, or adapter_model.safetensors. Take a repository or a revision that has them, such as refs/pr/N, or download it and ' +
        'convert pytorch_model.bin with meap-convert --from pytorch',
    );
    expect(hub.downloads).toEqual([]);
  });
});

it('fetches files of the same content once', async () => {
  hub.repositories.set('datasets/me/same', {
    files: { 'a.jsonl': large(3), 'b.jsonl': large(3), 'c.txt': 'c', 'd.txt': 'c' },
  });
  const { files } = await get('hf://datasets/me/same/*', 'files');
  expect(files.map((file) => readFileSync(file).length)).toEqual([50_000, 50_000, 1, 1]);
  expect(hub.downloads.filter(({ host }) => host === 'storage')).toHaveLength(1);
});

describe('files', () => {
  it('of a glob come sorted with numbers by value', async () => {
    const { files, folder } = await get('hf://datasets/me/texts/en/train-*.jsonl', 'files');
    expect(files.map((file) => relative(folder, file))).toEqual([
      'en/train-1.jsonl',
      'en/train-2.jsonl',
      'en/train-10.jsonl',
    ]);
    expect(hub.requests.find(({ path }) => path.includes('/tree/'))!.path).toContain('/en?');
  });

  it('that match nothing are refused with what there is', async () => {
    expect(await message('hf://datasets/me/texts/en/*.parquet', 'files')).toBe(
      'HubError: datasets/me/texts: nothing matches en/*.parquet; it has en/train-1.jsonl, en/train-10.jsonl, en/train-2.jsonl, en/valid.jsonl',
    );
    expect(await message('hf://datasets/me/texts', 'files')).toMatch(/no files given; name them as in/);
  });

  it('outside the repository are refused', async () => {
    hub.repositories.get('datasets/me/texts')!.files['en/../../../evil.jsonl'] = 'x';
    expect(await message('hf://datasets/me/texts/**', 'files')).toMatch(
      /names a file outside the repository/,
    );
  });
});

describe('a download', () => {
  const file = 'hf://datasets/me/texts/en/train-1.jsonl';

  it('goes on where the connection was cut, also in a later start', async () => {
    hub.faults.push({ host: 'storage', cutAfter: 20_000 });
    const { files } = await get(file, 'files');
    expect(readFileSync(files[0])).toEqual(large(3));
    expect(hub.downloads.filter(({ host }) => host === 'storage').map(({ range }) => range)).toEqual([
      undefined,
      'bytes=20000-',
    ]);

    rmSync(cache, { recursive: true });
    hub.requests.length = 0;
    hub.faults.push(
      { host: 'storage', cutAfter: 30_000 },
      { host: 'hub', status: 404, headers: { 'x-error-code': 'EntryNotFound' } },
    );
    // The revision, the listing and the file are answered before.
    hub.faults.unshift({ host: 'hub' }, { host: 'hub' }, { host: 'hub' });
    await message(file, 'files');
    const again = await get(file, 'files');
    expect(readFileSync(again.files[0])).toEqual(large(3));
    expect(hub.downloads.at(-1)!.range).toBe('bytes=30000-');
  });

  it('starts again where the server ignores ranges', async () => {
    hub.ignoresRanges = true;
    hub.faults.push({ host: 'storage', cutAfter: 20_000 });
    const { files } = await get(file, 'files');
    expect(readFileSync(files[0])).toEqual(large(3));
    expect(events.at(-1)).toMatchObject({ bytes: 50_000, totalBytes: 50_000 });
  });

  it('with another content than its hash is refused and leaves nothing', async () => {
    hub.damage = (content) => Buffer.concat([Buffer.from('x'), content.subarray(1)]);
    expect(await message(file, 'files')).toMatch(
      /^HubError: datasets\/me\/texts\/en\/train-1\.jsonl: got a file with the hash [0-9a-f]{64}, expected [0-9a-f]{64}; it was deleted, start again$/,
    );
    expect(readdirSync(join(cache, 'datasets--me--texts/blobs'))).toEqual([]);
    expect(existsSync(join(cache, 'datasets--me--texts/snapshots'))).toBe(false);
  });

  it('is retried after 500, 503 and 429, with the wait that the server asks for', async () => {
    hub.faults.push(
      { host: 'hub', status: 500 },
      { host: 'hub', status: 503 },
      { host: 'storage', status: 429, headers: { 'retry-after': '0.05' } },
    );
    expect((await get(file, 'files')).files).toHaveLength(1);
  });

  it('gives up after a while, and says that it resumes', async () => {
    for (let i = 0; i < 6; i++) hub.faults.push({ host: 'storage', status: 503 });
    expect(await message(file, 'files')).toMatch(
      /the Hub failed with status 503; start again later: it resumes/,
    );
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const onEvent = () => stop.abort(new Error('SIGINT'));
    const run = fetchFromHub(file, { wanted: 'files', settings, signal: stop.signal, onEvent });
    await expect(run).rejects.toThrow('SIGINT');
  });

  it('of several at once happens once', async () => {
    const all = await Promise.all([1, 2, 3].map(() => get('hf://me/tiny')));
    expect(new Set(all.map(({ folder }) => folder)).size).toBe(1);
    expect(hub.downloads.filter(({ host }) => host === 'storage')).toHaveLength(2);
    expect(events.some(({ type }) => type === 'waiting')).toBe(true);
    // Those that waited have nothing to tell.
    expect(events.filter((event) => event.type === 'progress' && event.files === 0)).toEqual([]);
  });

  it('takes over from a process that was killed', async () => {
    const folder = join(cache, 'datasets--me--texts');
    mkdirSync(folder);
    writeFileSync(join(folder, '.meap.lock'), '1');
    const old = new Date(Date.now() - 30_000);
    utimesSync(join(folder, '.meap.lock'), old, old);
    await get(file, 'files');
    expect(readdirSync(folder).sort()).toEqual(['blobs', 'refs', 'snapshots']);
  });

  it('sends the token to the Hub only, not to the storage', async () => {
    hub.repositories.get('datasets/me/texts')!.token = 'hf_secret';
    await get(file, 'files', { token: 'hf_secret' });
    const sent = (host: string) =>
      new Set(hub.requests.filter((seen) => seen.host === host).map((seen) => seen.authorization));
    expect(sent('hub')).toEqual(new Set(['Bearer hf_secret']));
    expect(sent('storage')).toEqual(new Set([undefined]));
  });
});

describe('single files', () => {
  const glob = 'hf://datasets/me/texts/en/train-*.jsonl';

  it('are listed at a commit, and fetched into a folder, or found in the cache', async () => {
    const commit = hub.commitOf('datasets/me/texts');
    expect(await pinHubAddress(glob, { settings })).toBe(glob.replace('/en', `@${commit}/en`));
    const files = await listHubFiles(glob, { settings });
    const at = (name: string) => `hf://datasets/me/texts@${commit}/en/${name}`;
    expect(files.map(({ address }) => address)).toEqual(
      ['train-1.jsonl', 'train-2.jsonl', 'train-10.jsonl'].map(at),
    );
    // The Hub stores small files in git, which names them by another hash.
    expect(files.map(({ sha256 }) => sha256?.length)).toEqual([64, undefined, undefined]);
    const file = files[0] as (typeof files)[0] & { sha256: string };
    expect(file.size).toBe(50_000);

    const folder = join(cache, 'here');
    hub.faults.push({ host: 'hub', cutAfter: 0 }, { host: 'hub' }, { host: 'storage', cutAfter: 20_000 });
    hub.faults.push({ host: 'hub', status: 403 });
    await expect(fetchHubFile(file, folder, { settings })).rejects.toThrow(/access to this data set/);
    const path = await fetchHubFile(file, folder, { settings });
    expect(hub.downloads.at(-1)!.range).toBe('bytes=20000-');
    expect(readFileSync(path)).toEqual(large(3));
    expect(readdirSync(folder)).toEqual([relative(folder, path)]);
    expect(existsSync(join(cache, 'datasets--me--texts'))).toBe(false);

    const [cached] = (await get('hf://datasets/me/texts/en/train-1.jsonl', 'files')).files;
    const { length } = hub.requests;
    expect(await fetchHubFile(file, folder, { settings })).toBe(cached);
    expect(hub.requests).toHaveLength(length);
    const offline = { settings: { ...settings, isOffline: true } };
    await expect(listHubFiles(glob, offline)).rejects.toThrow(/HF_HUB_OFFLINE is set; unset it/);
  });
});

describe('a name', () => {
  it('with a token that the server repeats is refused without the token', async () => {
    hub.faults.push({ host: 'hub', status: 400, headers: { 'x-error-code': 'hf_secret_1' } });
    expect(await message('hf://me/tiny', 'model', { token: 'hf_secret_1' })).toMatch(/status 400 \(\*\*\*\)/);
  });

  it('that the Hub does not have, or hides', async () => {
    expect(await message('hf://me/typo')).toBe(
      `HubError: me/typo: no model of this name at ${settings.endpoint}, or it is private: then set HF_TOKEN`,
    );
    expect(await message('hf://datasets/me/typo/x', 'files', { token: 'a' })).toMatch(
      /no data set of this name at .*, or the account of HF_TOKEN cannot see it/,
    );
  });

  it('that is gated', async () => {
    hub.repositories.get('me/tiny')!.isGated = true;
    expect(await message('hf://me/tiny')).toBe(
      `HubError: me/tiny: access to this model is restricted; accept its terms on ${settings.endpoint}/me/tiny and set HF_TOKEN to a token of that account`,
    );
  });

  it('with a revision that does not exist', async () => {
    expect(await message('hf://me/tiny@v9')).toBe(
      `HubError: me/tiny@v9: no revision 'v9', expected a branch, a tag or a commit of ${settings.endpoint}/me/tiny`,
    );
  });

  it('that is not in the cache without a network', async () => {
    expect(await message('hf://me/tiny', 'model', { isOffline: true })).toMatch(
      /me\/tiny: is not in the cache \S+models--me--tiny, and HF_HUB_OFFLINE is set; fetch it with a network first/,
    );
    await hub.close();
    expect(await message('hf://me/tiny')).toMatch(
      /me\/tiny: http:\S+ cannot be reached: fetch failed: .*; check the network, or set HF_HUB_OFFLINE=1/,
    );
  });

  it('is refused where the cache cannot be written', async () => {
    writeFileSync(join(cache, 'file'), '');
    expect(await message('hf://me/tiny', 'model', { cache: join(cache, 'file') })).toMatch(
      /the cache \S+ cannot be made or written to: .*; set HF_HOME/,
    );
  });
});
