/**
 * Compares the speed of scoring a task with meap-evaluate, transformers and lm-evaluation-harness.
 *
 *     node bench/score.mjs MODEL FILE PYTHON [--task hellaswag|mmlu] [--rows 1000] [--rounds 3] [--batches 16,32]
 *
 * FILE has the rows of HellaSwag; for mmlu it is a text, of whose sentences 5-shot questions of the length of MMLU's are made.
 * All programs get the same ids; only scoring is timed. Tokens include the context of each request, also if a program
 * computes it only once. The sums of log-likelihoods must agree. On a busy machine, compare CPU times of one thread:
 * taskset -c 0 env MEAP_NUM_THREADS=1 OMP_NUM_THREADS=1.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { evaluate, mmlu, multipleChoiceTask, zeroShot } from '@meap/evals';
import { openLanguageModel } from '@meap/inference';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    task: { type: 'string', default: 'hellaswag' },
    rows: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    batches: { type: 'string', default: '16,32' },
  },
});
const [path, file, python] = positionals;
const content = readFileSync(file, 'utf8');
const numRows = Number(values.rows);
const tasks = {
  hellaswag: () => {
    const rows = content.split('\n').filter(Boolean).slice(0, numRows);
    return multipleChoiceTask(
      zeroShot.hellaswag,
      rows.map((row) => JSON.parse(row)),
    );
  },
  mmlu: () => {
    // 160 characters a question and seven words a choice give about MMLU's 100 tokens.
    const sentences = content.split(/(?<=[.!?])\s+/).filter((text) => text.split(/\s+/).length > 9);
    const rows = Array.from({ length: numRows + 5 }, (_, row) => {
      const [a, b, c, d, ...choices] = sentences.slice(row * 8, row * 8 + 8);
      const short = choices.map((text) => text.split(/\s+/).slice(0, 7).join(' '));
      return { question: [a, b, c, d].join(' ').slice(0, 160), choices: short, answer: row % 4 };
    });
    const options = { numFewshot: 5, fewshotRows: rows.slice(0, 5) };
    return multipleChoiceTask(mmlu('world_religions'), rows.slice(5), options);
  },
};
const task = tasks[values.task]();
const model = await openLanguageModel({ model: path });
const requests = [...task.items(model)].flatMap(({ ask }) => ask.requests);
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
    let [seconds, cpu, sum] = [0, 0, 0];
    // With the batches of an evaluation, which differ from those of all requests at once.
    const score = async (...call) => {
      const [began, usage] = [performance.now(), process.cpuUsage()];
      const scores = await model.score(...call);
      seconds += (performance.now() - began) / 1000;
      const { user, system } = process.cpuUsage(usage);
      cpu += (user + system) / 1e6;
      for (const { logLikelihood } of scores) sum += logLikelihood;
      return scores;
    };
    const { name, fingerprint, contextLength, tokenizer } = model;
    await evaluate(task, { name, fingerprint, contextLength, tokenizer, score });
    return { seconds, cpu, sum };
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
