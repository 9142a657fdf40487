// Time and processor time that prepareTokens takes for many small files. Usage:
//
//   node bench/small-files.js TOKENIZER [FILES] [BYTES]    TOKENIZER: folder or tokenizer.json; 12,000 files of 40 bytes
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer, prepareTokens } from '../dist/index.js';

const [tokenizerPath, numFiles = 12_000, numBytes = 40] = process.argv.slice(2);
if (!tokenizerPath) throw new Error('usage: node bench/small-files.js TOKENIZER [FILES] [BYTES]');
const tokenizer = loadTokenizer(tokenizerPath);
const folder = mkdtempSync(join(tmpdir(), 'token-dataset-bench-'));
mkdirSync(join(folder, 'texts'));
for (let i = 0; i < numFiles; i++) {
  const text = `Document ${i} of many, none of them long. `.padEnd(numBytes, 'and so on ').slice(0, numBytes);
  writeFileSync(join(folder, 'texts', `${i}.txt`), text);
}
const files = join(folder, 'texts/*.txt');
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url)));
console.log(
  `${cpus()[0].model}, ${availableParallelism()} cores, Node ${process.version}, package ${version}`,
);
for (let round = 0; round < 3; round++) {
  const outputDirectory = join(folder, `tokens-${round}`);
  const before = process.cpuUsage();
  const start = performance.now();
  const { numDocuments } = await prepareTokens({
    files,
    tokenizer,
    outputDirectory,
    addBos: false,
    addEos: false,
  });
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  console.log(
    `${numDocuments} files of ${numBytes} bytes: ${seconds.toFixed(2)} s, ${((user + system) / 1e6).toFixed(2)} s of processor time`,
  );
}
rmSync(folder, { recursive: true });
