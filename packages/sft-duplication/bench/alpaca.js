// Rows a second and padding saved on Alpaca under the Llama 3 tokenizer, after a build:
// MEAP_DATA=DIR node packages/sft-duplication/bench/alpaca.js
import { readFileSync } from 'node:fs';
import { createDuplicator, epochOrder, packRows, planPacking, sftPresets } from '@meap/sft-duplication';
import { Tokenizer } from 'tokenizers';

const data = process.env.MEAP_DATA;
if (!data) throw new Error('bench/alpaca: set MEAP_DATA to the folder with sft/ and tokenizers/');
const tokenizerJson = readFileSync(`${data}/tokenizers/llama3_1/tokenizer.json`, 'utf8');
const tokenizer = Tokenizer.fromString(tokenizerJson);
const records = JSON.parse(readFileSync(`${data}/sft/alpaca_5000.json`, 'utf8'));
const specialIds = JSON.parse(tokenizerJson).added_tokens.map(({ id }) => id);
const HEADER = ['<|start_header_id|>', '<|end_header_id|>\n\n'];
const SYSTEM = `<|begin_of_text|>${HEADER.join('system')}You are a helpful, excellent and smart assistant.<|eot_id|>`;

const encode = async (texts) =>
  (await tokenizer.encodeBatch(texts, { addSpecialTokens: false })).map((encoding) => encoding.getIds());
const [system] = await encode([SYSTEM]);
const questions = await encode(
  records.map(({ instruction, input }) => {
    const question = input === '' ? instruction : `${instruction}\n${input}`;
    return `${HEADER.join('user')}${question}<|eot_id|>${HEADER.join('assistant')}`;
  }),
);
const answers = await encode(records.map(({ output }) => `${output}<|end_of_text|>`));
const samples = records.map((_, i) => ({
  segments: [
    { ids: system, role: 'system', trainable: false },
    { ids: questions[i], role: 'user', trainable: false },
    { ids: answers[i], role: 'assistant', trainable: true },
  ],
}));

const order = epochOrder({ count: samples.length, seed: 0, epoch: 0 });
const percent = (share) => `${(100 * share).toFixed(2)} %`;

/** Padding when batches of `size` rows are padded to their longest. */
function batchPadding(rows, size) {
  let [positions, used] = [0, 0];
  for (let start = 0; start < rows.length; start += size) {
    const lengths = rows.slice(start, start + size).map(({ inputs }) => inputs.length);
    positions += lengths.length * Math.max(...lengths);
    used += lengths.reduce((sum, length) => sum + length, 0);
  }
  return 1 - used / positions;
}

function medianMs(work, repeats = 9) {
  const times = [];
  for (let i = 0; i < repeats + 2; i++) {
    const start = performance.now();
    work(i);
    if (i >= 2) times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[repeats >> 1];
}

console.log(`${samples.length} samples, ${process.version}`);
for (const preset of ['reference', 'default']) {
  for (const maxLength of [1024, 2048, 4096]) {
    const options = { ...sftPresets[preset], maskId: 128256, specialIds, maxLength };
    const duplicator = createDuplicator(options);
    const { rows, statistics } = duplicator.duplicateAll(samples, { epoch: 0, order });
    if (maxLength === 1024) {
      console.log(`\npreset ${preset}:`, statistics);
      const ms = medianMs((epoch) => duplicator.duplicateAll(samples, { epoch, order }));
      console.log(
        `duplicate: ${ms.toFixed(0)} ms, ${((1e3 * rows.length) / ms).toFixed(0)} rows/s, ` +
          `${((1e6 * ms) / statistics.numPositions).toFixed(0)} ns a position`,
      );
      for (const size of [8, 32]) {
        console.log(
          `padding in batches of ${size}, each to its longest: ${percent(batchPadding(rows, size))}`,
        );
      }
    }
    const { statistics: packed } = packRows(rows, { length: maxLength });
    const lengths = rows.map(({ inputs }) => inputs.length);
    const planMs = medianMs(() => planPacking(lengths, { length: maxLength }));
    const packMs = medianMs(() => packRows(rows, { length: maxLength }));
    console.log(
      `packed to ${maxLength}: ${packed.numRows} → ${packed.numPackedRows} rows, padding ${percent(packed.padding)} ` +
        `(to the longest, ${packed.longest}: ${percent(packed.paddingToLongest)}; alone: ${percent(packed.paddingAlone)}), ` +
        `plan ${planMs.toFixed(1)} ms, plan and join ${packMs.toFixed(1)} ms`,
    );
  }
}
