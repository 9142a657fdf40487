// Tokens a second of prepareTokens (read, tokenize, checksum, write, sync) against one plain encodeBatch call of
// `tokenizers` on texts in memory. Usage:
//
//   node bench/prepare.js TOKENIZER FILES...    TOKENIZER: folder or tokenizer.json; FILES: paths and globs
//
// Runs are interleaved; the best of three counts. Token counts must agree.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { loadTokenizer, openTokenDataset, prepareTokens, readDocuments } from '../dist/index.js';

const [tokenizerPath, ...files] = process.argv.slice(2);
if (!tokenizerPath || files.length === 0) throw new Error('usage: node bench/prepare.js TOKENIZER FILES...');
const tokenizer = loadTokenizer(tokenizerPath);
const folder = mkdtempSync(join(tmpdir(), 'token-dataset-bench-'));
const texts = [];
for await (const { text } of readDocuments({ files })) texts.push(text);
const megabytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;

async function plain() {
  const native = Tokenizer.fromString(tokenizer.json);
  const start = performance.now();
  const encodings = await native.encodeBatch(texts, { addSpecialTokens: false });
  let tokens = 0;
  for (const encoding of encodings) tokens += encoding.getIds().length;
  return { tokens, seconds: (performance.now() - start) / 1000 };
}

async function prepare(workers) {
  const outputDirectory = join(folder, String(workers));
  rmSync(outputDirectory, { recursive: true, force: true });
  const start = performance.now();
  await prepareTokens({ files, tokenizer, outputDirectory, workers, addBos: false, addEos: false });
  const seconds = (performance.now() - start) / 1000;
  const dataset = openTokenDataset(outputDirectory);
  dataset.close();
  return { tokens: dataset.numTokens, seconds };
}

const subjects = {
  'one encodeBatch call': plain,
  'prepareTokens, workers: 0': () => prepare(0),
  'prepareTokens, workers: 1': () => prepare(1),
  [`prepareTokens, workers: ${availableParallelism()}`]: () => prepare(availableParallelism()),
};
const best = {};
let expected;
for (let round = 0; round < 3; round++) {
  for (const [name, run] of Object.entries(subjects)) {
    const result = await run();
    expected ??= result.tokens;
    if (result.tokens !== expected) throw new Error(`${name}: ${result.tokens} tokens, expected ${expected}`);
    best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, result.seconds);
  }
}
rmSync(folder, { recursive: true });
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url)));
console.log(
  `${cpus()[0].model}, ${availableParallelism()} cores, Node ${process.version}, package ${version}`,
);
console.log(`${texts.length} documents, ${megabytes.toFixed(1)} MB of text, ${expected} tokens`);
for (const [name, seconds] of Object.entries(best)) {
  const rate = Math.round(expected / seconds).toLocaleString('en');
  console.log(`${name.padEnd(28)} ${seconds.toFixed(2).padStart(6)} s ${rate.padStart(10)} tokens/s`);
}
