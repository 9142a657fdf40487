/** Results of synthetic models and tasks for tests of reports. */
import {
  type AttentionContrast,
  attentionShares,
  contrastAttention,
  evaluate,
  type LanguageModel,
  mean,
  segmentPrompt,
  type Task,
  type TaskItem,
  type TaskResult,
  weightedPerplexity,
} from '@meap/evals';
import type { RunMetrics } from '@meap/recipe-cli';
import type { EvaluatedModel, ReportInput, ShownShares } from './report-input.ts';

/** A task whose rows are measured by `measure`. */
interface SyntheticTask {
  readonly name: string;
  readonly metrics: readonly string[];
  readonly groups: readonly Readonly<Record<string, string | number>>[];
  measure(groups: Readonly<Record<string, string | number>>, skill: number, draw: number): number;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A model whose attention decreases with distance. */
export function syntheticModel(name: string, skill: number): LanguageModel {
  return {
    name,
    fingerprint: `${name}-0123456789abcdef`,
    contextLength: 32768,
    tokenizer: { encode: (text) => Array.from(text, (char) => char.codePointAt(0)!), decode: () => '' },
    score: async (requests) => requests.map(() => ({ logLikelihood: -1, isGreedy: true })),
    generate: async () => [],
    async attention(ids, visit) {
      for (const layer of [0, 1, 2, 3]) {
        const probabilities = new Float32Array(ids.length ** 2);
        for (let query = 0; query < ids.length; query++) {
          const weights = ids.map((id, key) =>
            key > query ? 0 : (1 + ((id * 7 + key) % 5)) / (1 + (query - key) * skill * (layer + 1) * 0.1),
          );
          const sum = weights.reduce((total, weight) => total + weight, 0);
          for (const [key, weight] of weights.entries())
            probabilities[query * ids.length + key] = weight / sum;
        }
        visit({ layer, head: 0, queryStart: 0, numQueries: ids.length, numKeys: ids.length, probabilities });
      }
    },
  };
}

export function syntheticResult(
  spec: SyntheticTask,
  model: LanguageModel,
  skill: number,
): Promise<TaskResult> {
  const task: Task = {
    name: spec.name,
    version: 1,
    metrics: spec.metrics.map((name) => ({
      name,
      higherIsBetter: name !== 'word_perplexity',
      aggregation: name === 'word_perplexity' ? weightedPerplexity : mean,
    })),
    config: spec.config ?? {},
    numItems: spec.groups.length,
    *items(): Iterable<TaskItem> {
      for (const [index, groups] of spec.groups.entries()) {
        const tooLong = groups.length !== undefined && Number(groups.length) > 32768;
        yield {
          id: String(index),
          groups,
          shown: {},
          ask: tooLong
            ? { kind: 'skip', reason: `a length of ${groups.length} tokens, the model reads 32768` }
            : { kind: 'score', requests: [{ context: [1], continuation: [index + 2] }] },
          measure: () =>
            Object.fromEntries(
              spec.metrics.map((metric, column) => [
                metric,
                { value: spec.measure(groups, skill, draw(index, column)), weight: 10 },
              ]),
            ),
        };
      }
    },
  };
  return evaluate(task, model);
}

/** Deterministic pseudo-random numbers between 0 and 1. */
function draw(index: number, column: number): number {
  const wave = Math.sin((index + 1) * 12.9898 + column * 78.233) * 43758.5453;
  return wave - Math.floor(wave);
}

const right = (probability: number, draw: number) => (draw < probability ? 1 : 0);
const rows = (count: number) => Array.from({ length: count }, () => ({}));
const grid = (lengths: readonly number[], depths: readonly number[], repeats = 1) =>
  lengths.flatMap((length) =>
    depths.flatMap((depth) => Array.from({ length: repeats }, () => ({ length, depth }))),
  );

const DEPTHS = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

/** Tasks of every kind in a report. */
export const SYNTHETIC_TASKS: readonly SyntheticTask[] = [
  ...['arc_challenge', 'arc_easy', 'boolq', 'hellaswag', 'openbookqa', 'piqa', 'winogrande'].map(
    (name, index): SyntheticTask => ({
      name,
      metrics: ['boolq', 'winogrande'].includes(name) ? ['acc'] : ['acc', 'acc_norm'],
      groups: rows(200 + 40 * index),
      measure: (_, skill, draw) => right(0.3 + 0.05 * index + 0.08 * skill, draw),
      config: { output_type: 'multiple_choice', num_fewshot: 0, bos: false },
    }),
  ),
  {
    name: 'niah',
    metrics: ['rouge1_recall', 'rouge1_f1'],
    groups: grid([4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768, 65536], DEPTHS),
    measure: ({ length, depth }, skill, draw) =>
      Math.max(
        0,
        Math.min(
          1,
          1.15 - (Number(length) / 40000) * (1.4 - skill) * (0.4 + Number(depth) / 100) * (0.5 + draw),
        ),
      ),
  },
  {
    name: 'needlebench_multi_reasoning',
    metrics: ['score'],
    groups: grid([9000, 13000, 17000, 21000, 25000, 29000, 31000, 32000], [0, 50, 100], 4),
    measure: ({ length }, skill, draw) =>
      100 * Math.min(1, draw * (0.4 + skill) * (1 - Number(length) / 60000)),
  },
  {
    name: 'mdqa_20',
    metrics: ['best_subspan_em'],
    groups: [1, 5, 10, 15, 20].flatMap((position) => Array.from({ length: 120 }, () => ({ position }))),
    measure: ({ position }, skill, draw) =>
      right(0.25 + 0.1 * skill + 0.0025 * (Number(position) - 10.5) ** 2, draw),
  },
  ...['niah_single_1', 'niah_multikey_1', 'vt', 'cwe'].map(
    (name, index): SyntheticTask => ({
      name: `ruler_${name}`,
      metrics: ['string_match_all'],
      groups: [4096, 8192, 16384, 32768].flatMap((length) => Array.from({ length: 25 }, () => ({ length }))),
      measure: ({ length }, skill, draw) =>
        100 * right(1.05 - 0.07 * index - (Number(length) / 60000) * (1.3 - skill), draw),
    }),
  ),
  {
    name: 'perplexity',
    metrics: ['word_perplexity'],
    groups: rows(40),
    measure: (_, skill, draw) => -(30 + 10 * draw - 2 * skill),
  },
];

function syntheticTraining(skill: number): Pick<RunMetrics, 'steps' | 'validations'> {
  const steps = Array.from({ length: 400 }, (_, i) => ({
    step: i + 1,
    tokens: (i + 1) * 65536,
    loss: 2 + 8 * Math.exp(-i / 40) + 0.1 * draw(i, 3) - 0.2 * skill,
    lr: 4e-4,
    gradNorm: 1,
    tokensPerSecond: 1000,
    mfu: 0.4,
    residentBytes: 1e9,
    backendBytes: 5e8,
  }));
  const validations = [100, 200, 300, 400].map((step) => ({
    step,
    tokens: step * 65536,
    valLoss: 2.1 + 8 * Math.exp(-step / 40) - 0.2 * skill,
    bitsPerByte: 1,
  }));
  return { steps, validations };
}

/** Models with all tasks, attention and training. */
export async function syntheticReport(names: readonly string[] = ['NTP', 'MEAP']): Promise<ReportInput> {
  const models: EvaluatedModel[] = [];
  const shares: ShownShares[] = [];
  for (const [index, name] of names.entries()) {
    const skill = 0.4 + 0.35 * index;
    const model = syntheticModel(name, skill);
    const results: TaskResult[] = [];
    for (const task of SYNTHETIC_TASKS) results.push(await syntheticResult(task, model, skill));
    models.push({ name, fingerprint: model.fingerprint, results, training: syntheticTraining(skill) });
    const parts = [
      { name: 'context before', text: 'Once upon a time a girl named Lily lived near a big forest. ' },
      { name: 'answer', text: 'The key is under the blue stone. ' },
      { name: 'context after', text: 'She liked to run and play with her dog Spot all day long. ' },
      { name: 'query', text: 'Where is the key?' },
    ];
    const text = parts.map(({ text }) => text).join('');
    const found = await attentionShares(model, [segmentPrompt(model.tokenizer, parts)]);
    shares.push({ ...found, tokenTexts: [[...text]] });
  }
  return { models, shares, contrasts: names.length > 1 ? [await syntheticContrast(names)] : [] };
}

function syntheticContrast(names: readonly string[]): Promise<AttentionContrast> {
  const [ntp, meap] = names.map((name, index) => syntheticModel(name, 0.4 + 0.35 * index));
  const sequences = Array.from({ length: 6 }, (_, sequence) => ({
    ids: Array.from({ length: 40 }, (_, i) => (i * 11 + sequence * 5) % 50),
    maskedPositions: [3, 9, 17 + sequence, 30],
  }));
  return contrastAttention(ntp, meap, sequences, { maskId: 60 });
}
