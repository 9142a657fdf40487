import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readDocuments } from './documents.ts';
import { findFileProblems } from './file-problems.ts';
import { temporaryFolder } from './testing.ts';

const folder = () => {
  const path = temporaryFolder();
  const write = (name: string, content: string) => {
    writeFileSync(join(path, name), content);
    return join(path, name);
  };
  return { path, write };
};

it('names every missing file, empty glob and damaged file, each once', async () => {
  const { path, write } = folder();
  const good = write('good.jsonl', '{"text": "a"}\n'.repeat(3));
  const bad = write('bad.jsonl', '{"text": "a"}\n{"txt": "b"}\n');
  const worse = write('worse.jsonl.gz', 'no gzip');
  const files = [join(path, 'none.jsonl'), good, bad, worse, `${path}/*.nothing`, bad];
  const problems = await findFileProblems(files, (file) => readDocuments({ files: file }));
  expect(problems).toHaveLength(4);
  expect(problems[0]).toMatch(/none\.jsonl/);
  expect(problems[1]).toMatch(/bad\.jsonl, line 2: field 'text' is missing/);
  expect(problems[2]).toMatch(/worse\.jsonl\.gz/);
  expect(problems[3]).toMatch(/nothing matches .*\.nothing/);
});

it('reads the first records only, and throws errors that are not about a file', async () => {
  const { write } = folder();
  const file = write('long.jsonl', `${'{"text": "a"}\n'.repeat(100_000)}no JSON\n`);
  expect(await findFileProblems(file, (path) => readDocuments({ files: path }))).toEqual([]);
  // biome-ignore lint/correctness/useYield: it throws before it has anything to yield
  const broken = async function* () {
    throw new TypeError('a fault');
  };
  await expect(findFileProblems(file, broken)).rejects.toThrow('a fault');
  expect(await findFileProblems(file, broken, (error) => error instanceof TypeError)).toEqual(['a fault']);
});
