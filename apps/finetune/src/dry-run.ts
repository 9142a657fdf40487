/** Plans a run without loading weights: counts, memory, and a picture of one conversation. */
import { loadProbeTasks } from '@meap/eval-recipes';
import { tokenText } from '@meap/inference';
import { Problems, plainText } from '@meap/recipe-cli';
import { renderRow } from '@meap/sft-duplication';
import { setBackend } from '@meap/tensor-kernels';
import { isUserError } from './errors.ts';
import { loadModelParts, type ModelParts } from './model.ts';
import { duplicatorOf, findDataProblems, prepareData } from './prepare-data.ts';
import { describeFacts } from './progress.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { describeRun, type RunFacts } from './run-facts.ts';

/** Result of {@link dryRun}. */
export interface DryRunPlan extends RunFacts {
  /** A conversation with its masked copy as text: inputs above targets. */
  row: string;
}

/** Options of {@link dryRun}. */
export interface DryRunOptions {
  /** Columns of the picture; default: 100. */
  width?: number;
  /** Whether the picture has ANSI colours. */
  color?: boolean;
}

/** Minimum number of trained tokens of the shown conversation. */
const MIN_SHOWN_TOKENS = 24;

/**
 * Plans a run without loading its weights.
 *
 * @throws NotReadyError with all problems of the model’s folder and the first records of each file
 */
export async function dryRun(
  config: FinetuneConfig,
  { width = 100, color = false }: DryRunOptions = {},
): Promise<DryRunPlan> {
  const problems = new Problems(isUserError);
  const parts = await problems.attempt(() => loadModelParts(config));
  problems.add(await findDataProblems(config));
  await problems.attempt(() => loadProbeTasks(config.probes));
  problems.throwIfAny();
  return planOf(config, parts!, { width, color });
}

async function planOf(
  config: FinetuneConfig,
  parts: ModelParts,
  { width, color }: Required<DryRunOptions>,
): Promise<DryRunPlan> {
  // The backend determines the dtype of weights in memory.
  await setBackend(config.backend, config.distributed);
  const data = await prepareData(config, parts);
  const facts = await describeRun(config, parts, data);
  const duplicator = duplicatorOf(config, parts, { layout: 'packed-isolated' });
  const candidates = data.train.samples
    .map((sample, index) => duplicator.duplicate(sample, { epoch: 0, index }))
    .filter(({ statistics }) => statistics.numLearned >= MIN_SHOWN_TOKENS)
    .sort((a, b) => rank(a.statistics) - rank(b.statistics));
  const rows =
    candidates[0]?.rows ?? duplicator.duplicate(data.train.samples[0], { epoch: 0, index: 0 }).rows;
  const pieces = new Map<number, string>();
  for (const { inputs, targets } of rows) {
    for (const id of [...inputs, ...targets]) {
      if (!pieces.has(id)) pieces.set(id, await tokenText(parts.tokenizer, id));
    }
  }
  const row = rows.map((shown) => renderRow(shown, (id) => pieces.get(id)!, { width, color })).join('\n\n');
  return { ...facts, row };
}

/** Formats the plan for the terminal. */
export function renderDryRun(plan: DryRunPlan): string {
  return `${describeFacts(plan).map(plainText).join('\n')}\n\none conversation\n${plan.row}`;
}

/** Sorts conversations with masks first, then by length. */
function rank({ numMasked, numPositions }: { numMasked: number; numPositions: number }): number {
  return numPositions + (numMasked > 0 ? 0 : 2 ** 30);
}
