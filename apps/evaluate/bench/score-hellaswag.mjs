/**
 * Compares the speed of scoring HellaSwag rows with this package and with transformers.
 *
 *     node bench/score-hellaswag.mjs MODEL ROWS.jsonl PYTHON [--rows 1000] [--rounds 3] [--batches 16,32]
 *
 * Both programs get the same ids; only scoring is timed. Tokens include the context of each request, also if a program
 * computes it only once. The sums of log-likelihoods must agree. On a busy machine, compare CPU times of one thread:
 * MEAP_NUM_THREADS=1 OMP_NUM_THREADS=1.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { multipleChoiceTask, zeroShot } from '@meap/evals';
import { openLanguageModel } from '@meap/inference';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    batches: { type: 'string', default: '16,32' },
  },
});
const [path, file, python] = positionals;
const rows = readFileSync(file, 'utf8')
  .split('\n')
  .filter(Boolean)
  .slice(0, Number(values.rows))
  .map((row) => JSON.parse(row));
const model = await openLanguageModel({ model: path });
const requests = [...multipleChoiceTask(zeroShot.hellaswag, rows).items(model)].flatMap(
  ({ ask }) => ask.requests,
);
const numTokens = requests.reduce(
  (sum, { context, continuation }) => sum + context.length + continuation.length,
  0,
);

const folder = mkdtempSync(join(tmpdir(), 'meap-bench-'));
const requestsFile = join(folder, 'requests.json');
writeFileSync(
  requestsFile,
  JSON.stringify(requests.map(({ context, continuation }) => [context, continuation])),
);
const peer = fileURLToPath(new URL('transformers_score.py', import.meta.url));
const env = { ...process.env, HF_HUB_OFFLINE: '1' };
const programs = {
  native: async () => {
    const [began, usage] = [performance.now(), process.cpuUsage()];
    const scores = await model.score(requests);
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(usage);
    return {
      seconds,
      cpu: (user + system) / 1e6,
      sum: scores.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0),
    };
  },
};
for (const batch of values.batches.split(',')) {
  for (const mode of ['padded', 'harness']) {
    programs[`transformers, ${mode}, batch ${batch}`] = async () =>
      JSON.parse(
        execFileSync(python, [peer, path, requestsFile, mode, batch], {
          env,
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
        })
          .trim()
          .split('\n')
          .at(-1),
      );
  }
}

await model.score(requests.slice(0, 100));
const results = Object.fromEntries(Object.keys(programs).map((program) => [program, []]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [program, run] of Object.entries(programs)) {
    const result = await run();
    results[program].push(result);
    console.error(`${program}: ${result.seconds.toFixed(2)} s, CPU ${result.cpu.toFixed(2)} s`);
  }
}
rmSync(folder, { recursive: true });
const median = (program, key) =>
  results[program].map((result) => result[key]).toSorted((a, b) => a - b)[
    Math.floor(results[program].length / 2)
  ];
for (const program of Object.keys(programs)) {
  const { sum } = results[program][0];
  const { sum: expected } = results.native[0];
  if (Math.abs(sum / expected - 1) > 1e-4) throw new Error(`${program}: sum ${sum}, native ${expected}`);
  const [seconds, cpu] = [median(program, 'seconds'), median(program, 'cpu')];
  const figures = {
    program,
    requests: requests.length,
    tokens: numTokens,
    seconds,
    tokens_per_second: Math.round(numTokens / seconds),
    times_native: +(seconds / median('native', 'seconds')).toFixed(2),
    cpu_seconds: cpu,
    cpu_times_native: +(cpu / median('native', 'cpu')).toFixed(2),
  };
  console.log(JSON.stringify(figures));
}
model.dispose();
