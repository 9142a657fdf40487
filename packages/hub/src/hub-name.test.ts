import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cachedAddress, cachedName } from './cache.ts';
import { modelAddress, parseHubAddress, showName } from './hub-name.ts';

it.each([
  ['hf://meta-llama/Llama-3.2-1B', 'model', 'meta-llama/Llama-3.2-1B', 'main', ''],
  ['hf://models/a/b/sub/folder', 'model', 'a/b', 'main', 'sub/folder'],
  ['hf://gpt2', 'model', 'gpt2', 'main', ''],
  [
    'hf://datasets/allenai/c4/en/c4-train.0000*.json.gz',
    'dataset',
    'allenai/c4',
    'main',
    'en/c4-train.0000*.json.gz',
  ],
  ['hf://datasets/a/b@v1.0/x.jsonl', 'dataset', 'a/b', 'v1.0', 'x.jsonl'],
  [
    'hf://datasets/a/b@refs/convert/parquet/default/train/*.parquet',
    'dataset',
    'a/b',
    'refs/convert/parquet',
    'default/train/*.parquet',
  ],
  ['hf://a/b@refs%2Fpr%2F7', 'model', 'a/b', 'refs/pr/7', ''],
  ['hf://a/b@refs/pr/7', 'model', 'a/b', 'refs/pr/7', ''],
])('parses %s', (text, type, repo, revision, path) => {
  expect(parseHubAddress(text)).toEqual({ type, repo, revision, path });
});

it.each([
  ['https://huggingface.co/a/b', /not an address/],
  ['hf://', /'' is not a name/],
  ['hf://a//x', /'a\/' is not a name/],
  ['hf://a/b@', /no revision after @/],
  ['hf://a/b@v1@v2', /two revisions/],
  ['hf://a/b@refs/heads/x', /incomplete revision/],
  ['hf://spaces/a/b', /one of the spaces/],
  ['hf://a/../../etc/passwd', /'a\/\.\.' is not a name/],
  ['hf://a/b/../../c', /leaves the repository/],
])('refuses %s', (text, message) => {
  expect(() => parseHubAddress(text)).toThrow(message);
});

it('takes only owner/name for a model without hf://', () => {
  expect(modelAddress('meta-llama/Llama-3.2-1B')).toBe('hf://meta-llama/Llama-3.2-1B');
  expect(modelAddress('a/b@v1')).toBe('hf://a/b@v1');
  for (const text of [
    'model',
    './model',
    '../runs/x',
    '/abs/model',
    'a/b/c',
    'runs/',
    '~/model',
    'C:\\models\\x',
    '',
  ]) {
    expect(modelAddress(text), text).toBeUndefined();
  }
});

it('property: what is shown parses to the same name', () => {
  const part = fc
    .stringMatching(/^[A-Za-z0-9]{1,8}([-._][A-Za-z0-9]{1,8})?$/)
    .filter((text) => !/^(models|datasets|spaces|buckets)$/.test(text));
  fc.assert(
    fc.property(
      part,
      part,
      fc.constantFrom('main', 'v1', 'a'.repeat(40)),
      fc.constantFrom('model', 'dataset'),
      (owner, name, revision, type) => {
        const parsed = { type, repo: `${owner}/${name}`, revision, path: '' } as const;
        expect(parseHubAddress(`hf://${showName(parsed as never)}`)).toEqual(parsed);
      },
    ),
  );
});

it('finds the name of a path in a cache', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  expect(cachedName(`/home/me/.cache/huggingface/hub/models--a--b-c/snapshots/${commit}`)).toEqual({
    type: 'model',
    repo: 'a/b-c',
    commit,
  });
  expect(cachedName('runs/quickstart')).toBeUndefined();
  const file = `/hf/hub/datasets--a--b/snapshots/${commit}/en/test-1.parquet`;
  expect(cachedAddress(file)).toBe(`hf://datasets/a/b@${commit}/en/test-1.parquet`);
  expect(cachedAddress('data/test-1.parquet')).toBeUndefined();
});
