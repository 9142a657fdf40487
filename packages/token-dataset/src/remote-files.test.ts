import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import type { RemoteFile } from './files.ts';
import { prepareTokens } from './prepare.ts';
import { fixtureDocuments, temporaryFolder, tinyTokenizer } from './testing.ts';
import { BATCH } from './text-sources.ts';

/** Five files of a server; the third is also in a cache. */
function server() {
  const folder = temporaryFolder();
  const fetched: string[] = [];
  let most = 0;
  const onFetch = { run: (_path: string): void => {} };
  const files = [0, 1, 2, 3, 4].map((i): RemoteFile & { own: string } => {
    const texts = fixtureDocuments.slice(20 * i, 20 * i + 20);
    const content = gzipSync(texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    const own = join(folder, `${i}.jsonl.gz`);
    writeFileSync(own, content);
    const fetch = async (into: string) => {
      fetched.push(basename(own));
      onFetch.run(own);
      if (i === 2) return own;
      mkdirSync(into, { recursive: true });
      const name = `file-${i}`;
      copyFileSync(own, join(into, name));
      most = Math.max(most, readdirSync(into).length);
      return join(into, name);
    };
    const sha256 = createHash('sha256').update(content).digest('hex');
    return { path: `hf://datasets/a/b@1/${i}.jsonl.gz`, own, size: content.length, sha256, fetch };
  });
  const prepare = (
    out: string,
    given: readonly (string | RemoteFile)[],
    signal?: AbortSignal,
    onNotice?: (notice: string) => void,
  ) => {
    const options = { tokenizer: tinyTokenizer, workers: 0, maxTokensPerShard: 2000, signal, onNotice };
    return prepareTokens({ ...options, files: given, outputDirectory: join(folder, out) });
  };
  return { folder, files, fetched, onFetch, prepare, mostFiles: () => most };
}

/** The shards of a dataset, by name. */
function shards(directory: string): Record<string, string> {
  const names = (readdirSync(directory, { recursive: true }) as string[]).filter((name) =>
    /\.bin$/.test(name),
  );
  return Object.fromEntries(
    names.sort().map((name) => [name, readFileSync(join(directory, name), 'latin1')]),
  );
}

it('tokenizes remote files to the same bytes, two of them on the disk at a time', async () => {
  const { folder, files, fetched, prepare, mostFiles } = server();
  const local = await prepare(
    'local',
    files.map(({ own }) => own),
  );
  const remote = await prepare('remote', files);
  expect(remote.fingerprint).toBe(local.fingerprint);
  expect(shards(remote.directory)).toEqual(shards(local.directory));
  expect(remote.sources[0]).toEqual({ path: files[0].path, size: files[0].size, sha256: files[0].sha256 });
  expect(fetched).toHaveLength(5);
  expect(mostFiles()).toBe(2);
  // What was in a cache stays; nothing else is left.
  expect(existsSync(files[2].own)).toBe(true);
  expect(readdirSync(join(folder, 'remote'))).toHaveLength(2);
  // Prepared data need no file.
  expect((await prepare('remote', files)).reused).toBe(true);
  expect(fetched).toHaveLength(5);
});

it('continues after an interruption with the file that was read', async () => {
  const { files, fetched, onFetch, prepare } = server();
  const { documents } = BATCH;
  BATCH.documents = 5;
  onTestFinished(() => {
    BATCH.documents = documents;
  });
  const whole = await prepare('whole', files);
  fetched.length = 0;
  const stop = new AbortController();
  onFetch.run = (path) => {
    if (basename(path) === '4.jsonl.gz') stop.abort(new Error('SIGINT'));
  };
  await expect(prepare('stopped', files, stop.signal)).rejects.toThrow('SIGINT');
  fetched.length = 0;
  const again = await prepare('stopped', files);
  expect(shards(again.directory)).toEqual(shards(whole.directory));
  expect(fetched[0]).not.toBe('0.jsonl.gz');

  // Other files start over in the same folder.
  const later = new AbortController();
  onFetch.run = (path) => {
    if (basename(path) === '3.jsonl.gz') later.abort(new Error('SIGINT'));
  };
  await expect(prepare('other', files, later.signal)).rejects.toThrow('SIGINT');
  onFetch.run = () => {};
  const notices: string[] = [];
  const other = await prepare('other', files.slice(3), undefined, (notice) => notices.push(notice));
  expect(other.numDocuments).toBe(40);
  expect(notices.join()).toContain('cannot be continued');
});

it('keeps what was received of the first file', async () => {
  const { files, prepare } = server();
  let received = '';
  const cut: RemoteFile = {
    ...files[0],
    fetch: async (into) => {
      const part = join(into, 'part');
      received = existsSync(part) ? readFileSync(part, 'utf8') : '';
      mkdirSync(into, { recursive: true });
      writeFileSync(part, `${received}x`);
      throw new Error('no network');
    },
  };
  for (const before of ['', 'x', 'xx']) {
    await expect(prepare('cut', [cut])).rejects.toThrow('no network');
    expect(received).toBe(before);
  }
});

it('names a remote file by its address in errors', async () => {
  const { files, prepare } = server();
  const damaged = { ...files[1], fetch: files[0].fetch, size: files[0].size };
  truncateSync(files[0].own, 100);
  await expect(prepare('bad', [damaged])).rejects.toThrow(
    'hf://datasets/a/b@1/1.jsonl.gz is not whole gzip data',
  );
  const lost = { ...files[1], fetch: () => Promise.reject(new Error('no network')) };
  await expect(prepare('lost', [files[3], lost])).rejects.toThrow('no network');
});
