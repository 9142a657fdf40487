/** The model card of a run or a folder: README.md with the Hub's metadata. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { modelAddress } from '@meap/hub';
import { ModelError } from '@meap/inference';
import { countParameters, type LlamaConfig } from '@meap/llama-model';
import { lossCurve, readMetrics, short } from '@meap/recipe-cli';
import { markdownTable } from 'markdown-table';
import { parse, stringify } from 'yaml';

/** What a card describes. */
export interface CardFacts {
  /** `OWNER/NAME`. */
  readonly name: string;
  readonly config: LlamaConfig;
  /** The base model of an adapter or of fine-tuning, as in the files. */
  readonly baseModel?: string;
  readonly isAdapter: boolean;
  /** A run directory, with `config.yaml` and `metrics.jsonl`. */
  readonly run?: string;
  /** Results of evaluations: files or folders of meap-evaluate or lm-evaluation-harness. */
  readonly results: readonly string[];
}

/** A measured value of a task. */
interface Score {
  readonly task: string;
  readonly numFewshot: number;
  readonly metric: string;
  readonly value: number;
  readonly standardError?: number;
}

const METHOD =
  'Trained with [mask-enhanced autoregressive prediction](https://arxiv.org/abs/2502.07490): some input tokens are masked, ' +
  'the targets are not.';

/** Rows of the table of losses. */
const MAX_ROWS = 10;

/** Writes the card. @throws ModelError for results that cannot be read */
export function modelCard(facts: CardFacts): string {
  const { name, config, run, isAdapter } = facts;
  const title = name.split('/')[1];
  const recipePath = run && join(run, 'config.yaml');
  const recipe =
    recipePath && existsSync(recipePath) ? withoutPaths(parse(readFileSync(recipePath, 'utf8'))) : undefined;
  const scores = facts.results.flatMap(readScores);
  const baseModel = facts.baseModel && hubName(facts.baseModel);
  const datasets = [
    ...new Set(JSON.stringify(recipe ?? '').match(/hf:\/\/datasets\/[\w.-]+\/[\w.-]+/g) ?? []),
  ];
  const tags = [...(masksInputs(recipe) ? ['meap'] : []), ...(isAdapter ? ['lora'] : [])];
  const metadata = {
    library_name: isAdapter ? 'peft' : 'transformers',
    pipeline_tag: 'text-generation',
    ...(baseModel && { base_model: baseModel }),
    ...(datasets.length > 0 && {
      datasets: datasets.map((address) => address.slice('hf://datasets/'.length)),
    }),
    ...(tags.length > 0 && { tags }),
    ...(scores.length > 0 && { 'model-index': [{ name: title, results: modelIndex(scores) }] }),
  };
  const kind = isAdapter ? 'A LoRA adapter' : 'A language model';
  const parts = [
    `---\n${stringify(metadata)}---`,
    `# ${title}`,
    `${kind}: ${config.model_type ?? 'llama'}, ${short(countParameters(config))} parameters, context ${config.max_position_embeddings}${baseModel ? `, from [${baseModel}](https://huggingface.co/${baseModel})` : ''}.`,
    ...(masksInputs(recipe) ? [METHOD] : []),
    ...(scores.length > 0 ? ['## Evaluation', scoreTable(scores)] : []),
    ...(run ? trainingSection(run) : []),
    ...(recipe ? ['## Recipe', `\`\`\`yaml\n${stringify(recipe)}\`\`\``] : []),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** Whether a recipe masks input tokens, as MEAP does. */
function masksInputs(recipe: unknown): boolean {
  const { masking } = (recipe ?? {}) as { masking?: { ratio?: unknown } };
  return typeof masking?.ratio === 'number' && masking.ratio > 0;
}

/** The name on the Hub of a base model; undefined for a folder of this machine. */
function hubName(model: string): string | undefined {
  return existsSync(model) ? undefined : modelAddress(model)?.slice('hf://'.length);
}

/** Folders of this machine are of no use to others, and tell them of it: of absolute paths the last part remains. */
function withoutPaths(value: unknown): unknown {
  if (typeof value === 'string')
    return /^(\/|[A-Za-z]:\\)/.test(value) ? basename(value.replaceAll('\\', '/')) : value;
  if (Array.isArray(value)) return value.map(withoutPaths);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutPaths(item)]));
}

function trainingSection(run: string): string[] {
  const { steps, validations } = readMetrics(run);
  const last = steps.at(-1);
  if (!last) return [];
  const rows = lossCurve(steps, MAX_ROWS).map(({ step, loss }, i, all) => {
    const from = all[i - 1]?.step ?? 0;
    const validation = validations.findLast((line) => line.step > from && line.step <= step);
    return [String(step), loss.toFixed(4), validation?.valLoss.toFixed(4) ?? ''];
  });
  const header = ['Step', 'Loss', 'Validation loss'];
  return [
    '## Training',
    `${last.step} steps, ${short(last.tokens)} tokens. Each loss is the mean since the row above.`,
    markdownTable([header, ...rows], { align: ['r', 'r', 'r'] }),
  ];
}

/** Reads a `results.json` in the format of lm-evaluation-harness. */
function readScores(path: string): Score[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder ? join(path, 'results.json') : path;
  let json: { results?: unknown; 'n-shot'?: Record<string, number> };
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new ModelError(`${file}: cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof json.results !== 'object' || json.results === null) {
    throw new ModelError(
      `${file}: has no results, expected a results.json of meap-evaluate or lm-evaluation-harness`,
    );
  }
  const scores: Score[] = [];
  for (const [task, values] of Object.entries(json.results as Record<string, Record<string, unknown>>)) {
    for (const [key, value] of Object.entries(values)) {
      const [metric, filter] = key.split(',');
      if (filter === undefined || metric.endsWith('_stderr') || typeof value !== 'number') continue;
      const standardError = values[`${metric}_stderr,${filter}`];
      const shown = filter === 'none' ? metric : `${metric},${filter}`;
      const error = typeof standardError === 'number' ? { standardError } : {};
      scores.push({ task, numFewshot: json['n-shot']?.[task] ?? 0, metric: shown, value, ...error });
    }
  }
  return scores;
}

/** The Hub's form of results, https://github.com/huggingface/hub-docs/blob/main/modelcard.md. */
function modelIndex(scores: readonly Score[]) {
  return [...new Set(scores.map(({ task }) => task))].map((task) => {
    const own = scores.filter((score) => score.task === task);
    return {
      task: { type: 'text-generation', name: 'Text Generation' },
      dataset: { name: own[0].numFewshot > 0 ? `${task} (${own[0].numFewshot}-shot)` : task, type: task },
      metrics: own.map(({ metric, value }) => ({ type: metric, value, name: metric })),
    };
  });
}

function scoreTable(scores: readonly Score[]): string {
  const rows = scores.map(({ task, numFewshot, metric, value, standardError }) => [
    task,
    String(numFewshot),
    metric,
    value.toFixed(4),
    standardError?.toFixed(4) ?? '',
  ]);
  return markdownTable([['Task', 'Shots', 'Metric', 'Value', '± Stderr'], ...rows], {
    align: ['l', 'r', 'l', 'r', 'r'],
  });
}
