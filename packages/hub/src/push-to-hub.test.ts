import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeHub } from '@meap/test-support';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchFromHub } from './fetch-from-hub.ts';
import type { HubSettings } from './hub-settings.ts';
import { type PushEvent, pushToHub } from './push-to-hub.ts';

const weights = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 3) % 251));

let hub: FakeHub;
let settings: HubSettings;
let folder: string;
let events: PushEvent[];
beforeEach(async () => {
  hub = new FakeHub();
  folder = mkdtempSync(join(tmpdir(), 'meap-push-'));
  settings = {
    endpoint: await hub.start(),
    isOffline: false,
    cache: folder,
    retryMs: 1,
    token: hub.writeToken,
  };
  writeFileSync(join(folder, 'model.safetensors'), weights);
  events = [];
});
afterEach(async () => {
  await hub.close();
  rmSync(folder, { recursive: true, force: true });
});

const push = (name = 'me/new', more: Partial<HubSettings> = {}, isPrivate = false) =>
  pushToHub(name, {
    files: [
      { path: 'README.md', source: { text: '# new' } },
      { path: 'config.json', source: { text: '{}' } },
      { path: 'model.safetensors', source: { file: join(folder, 'model.safetensors') } },
    ],
    isPrivate,
    title: 'Upload',
    onEvent: (event) => events.push(event),
    settings: { ...settings, ...more },
  });
const message = (...args: Parameters<typeof push>) =>
  push(...args).then(
    () => expect.fail('pushed'),
    (error: Error) => `${error.name}: ${error.message}`,
  );

describe('pushToHub', () => {
  it('creates a repository, whose files are then fetched by name', async () => {
    const { url, commit } = await push();
    expect(url).toBe(`${settings.endpoint}/me/new`);
    expect(commit).toBe(hub.commitOf('me/new'));
    expect(events).toEqual([
      { type: 'repository', url, isNew: true },
      { type: 'uploaded', path: 'model.safetensors' },
    ]);
    const { files } = await fetchFromHub('hf://me/new', {
      wanted: 'model',
      settings: { ...settings, token: undefined },
    });
    expect(files).toHaveLength(2);
    expect(hub.repositories.get('me/new')!.files['model.safetensors']).toEqual(weights);
    // The storage is another host, and gets no token.
    const uploads = hub.requests.filter(({ host, method }) => host === 'storage' && method === 'PUT');
    expect(uploads.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it('adds a commit to an existing repository and keeps its other files', async () => {
    hub.repositories.set('me/new', { files: { 'notes.md': 'kept', 'config.json': 'old' } });
    await push();
    expect(events[0]).toMatchObject({ isNew: false });
    const { files } = hub.repositories.get('me/new')!;
    expect(Object.entries(files).map(([path, content]) => [path, String(content).slice(0, 5)])).toMatchObject(
      [
        ['notes.md', 'kept'],
        ['config.json', '{}'],
        ['README.md', '# new'],
        ['model.safetensors', expect.anything()],
      ],
    );
  });

  it('makes a private repository, and continues after a failure of the server', async () => {
    hub.faults.push({ host: 'hub', status: 503 }, { host: 'storage', status: 500 });
    await push('me/new', {}, true);
    expect(hub.repositories.get('me/new')).toMatchObject({ isPrivate: true });
  });

  it.each([
    [
      'me/new',
      { token: undefined },
      /HubError: me\/new: pushing needs a token with write access, got none; .*HF_TOKEN/,
    ],
    ['me/new', { token: 'secret' }, /got one that does not start with hf_/],
    ['me/new', { token: 'hf_read' }, /refused the upload: HF_TOKEN is not valid; create a token/],
    ['you/new', {}, /HF_TOKEN may not write there/],
    ['me/new', { isOffline: true }, /HF_HUB_OFFLINE is set/],
    ['me/new', { endpoint: 'http://me:pw@127.0.0.1' }, /^(?!.*pw).*HF_ENDPOINT: .*expected one like/],
    ['me/new', { token: 'hf_a\nhf_b' }, /^(?!.*hf_b).*HF_TOKEN: got invalid characters/],
    ['new', {}, /expected OWNER\/NAME/],
    ['datasets/me/new', {}, /expected OWNER\/NAME/],
    ['me/new@v1', {}, /expected OWNER\/NAME/],
  ])('to %s with %j is refused', async (name, more, expected) => {
    expect(await message(name, more)).toMatch(expected);
    expect(hub.repositories.size).toBe(0);
  });
});
