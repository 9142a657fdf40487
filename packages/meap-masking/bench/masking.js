// Time to mask a batch, per token: node packages/meap-masking/bench/masking.js (after a build).
import { createMasker } from '@meap/meap-masking';

const rows = 32;
const length = 4096;
const numBatches = 15;
const inputs = Int32Array.from({ length: rows * length }, (_, i) => i % 32000);
const maskers = {
  'per-sequence': {},
  'per-sequence, 2 ids kept': { keepIds: [1, 2] },
  reference: { strategy: 'reference' },
  bernoulli: { strategy: 'bernoulli' },
  'span of 50': { strategy: 'span', spanLength: 50 },
};

console.log(
  `rows ${rows}, length ${length}, ratio 0.15, median of ${numBatches} batches, ${process.version}`,
);
for (const [name, options] of Object.entries(maskers)) {
  const masker = createMasker({ ratio: 0.15, maskId: 32000, ...options });
  const times = [];
  for (let step = 0; step < numBatches + 3; step++) {
    const start = performance.now();
    const { numMasked } = masker.apply(inputs, { rows, length, step });
    if (step >= 3) times.push(performance.now() - start);
    if (numMasked === 0) throw new Error(`${name} masked nothing`);
  }
  const median = times.sort((a, b) => a - b)[numBatches >> 1];
  console.log(`${name.padEnd(26)}${((1e6 * median) / inputs.length).toFixed(1).padStart(6)} ns per token`);
}
