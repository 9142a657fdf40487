/** Plans an evaluation without loading weights. */

import { makeTasks } from '@meap/eval-recipes';
import { selectRows, type Task, type TaskModel } from '@meap/evals';
import {
  chatFormatOf,
  findModel,
  openChatTemplate,
  openTextTokenizer,
  type RemoteChatModel,
  type RemoteModel,
  yieldToEventLoop,
} from '@meap/inference';
import { contextLengthOf, countParameters, readLlamaConfig } from '@meap/llama-model';
import { Problems, short } from '@meap/recipe-cli';
import { loadTokenizer } from '@meap/token-dataset';
import { markdownTable } from 'markdown-table';
import type { EvaluateConfig } from './config.ts';
import { isUserError } from './errors.ts';
import type { DownloadOptions, StageEvent } from './events.ts';
import { contextText } from './progress.ts';
import { openModel, placeOf, requireAnswerable } from './run.ts';

interface TaskPlan {
  readonly task: string;
  readonly rows: number;
  readonly requests: number;
  /** Upper bound of the tokens read and generated. */
  readonly tokens: number;
  /** Number of skipped rows by reason. */
  readonly skipped: Readonly<Record<string, number>>;
}

export interface EvaluationPlan {
  readonly model: string;
  /** Unknown for a model of a server. */
  readonly parameters?: number;
  readonly contextLength: number;
  readonly tasks: readonly TaskPlan[];
}

export interface PlanOptions extends DownloadOptions {
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: StageEvent) => void;
}

/**
 * Loads data and tokenizer and creates all requests without running them.
 *
 * @throws NotReadyError with all problems of the data and of the model's folder
 */
export async function planEvaluation(
  config: EvaluateConfig,
  { signal, onDownload, onEvent = () => {} }: PlanOptions = {},
): Promise<EvaluationPlan> {
  const problems = new Problems(isUserError);
  const tasks: Task[] = [];
  for (const name of config.tasks) {
    const make = () => makeTasks({ ...config, tasks: [name] }, { signal, onDownload });
    tasks.push(...((await problems.attempt(make)) ?? []));
  }
  const model = await problems.attempt(() => plannedModel(config));
  await problems.attempt(async () => requireAnswerable(tasks, config));
  problems.throwIfAny();
  const { contextLength, parameters, dispose } = model!;
  try {
    const plans: TaskPlan[] = [];
    for (const task of tasks) {
      const { name } = task;
      const { rows, total } = selectRows(task, model!, config);
      let [requests, tokens, numRows, done] = [0, 0, 0, 0];
      const skipped: Record<string, number> = {};
      for (const { ask } of rows) {
        await yieldToEventLoop(signal);
        onEvent({ type: 'stage', stage: name, unit: 'rows', done: ++done, total });
        if (ask.kind === 'skip') {
          skipped[ask.reason] = (skipped[ask.reason] ?? 0) + 1;
          continue;
        }
        numRows++;
        requests += ask.requests.length;
        for (const request of ask.requests) {
          tokens +=
            'context' in request
              ? request.context.length + request.continuation.length
              : request.prompt.length + request.maxNewTokens;
        }
      }
      plans.push({ task: name, rows: numRows, requests, tokens, skipped });
    }
    return {
      model: placeOf(config.model),
      parameters,
      contextLength,
      tasks: plans,
    };
  } finally {
    dispose();
  }
}

/** A model's tokenizer and sizes, without its weights. */
async function plannedModel(
  config: EvaluateConfig,
): Promise<TaskModel & { parameters?: number; dispose(): void }> {
  if ('endpoint' in config.model) return (await openModel(config)) as RemoteModel | RemoteChatModel;
  const directory = await findModel(config.model.path);
  const shape = readLlamaConfig(directory.base);
  const plain = loadTokenizer(directory.tokenizer);
  const { apply_chat_template: choice } = config;
  const template = choice && openChatTemplate(directory.tokenizer, plain, choice);
  const tokenizer = await openTextTokenizer(directory.tokenizer, plain);
  return {
    tokenizer,
    contextLength: contextLengthOf(shape),
    ...(template && { chat: chatFormatOf(template, tokenizer) }),
    parameters: countParameters(shape),
    dispose: () => tokenizer.dispose(),
  };
}

export function renderPlan({ model, parameters, contextLength, tasks }: EvaluationPlan): string {
  const rows = tasks.map(({ task, rows, requests, tokens, skipped }) => [
    task,
    ...[rows, requests].map(String),
    short(tokens),
    String(Object.values(skipped).reduce((sum, count) => sum + count, 0)),
  ]);
  const size = parameters === undefined ? '' : `, ${short(parameters)} parameters`;
  const header = ['Tasks', 'Rows', 'Requests', 'Tokens', 'Skipped'];
  return [
    `model        ${model}${size}${contextText(contextLength)}`,
    '',
    markdownTable([header, ...rows], { align: ['l', 'r', 'r', 'r', 'r'] }),
  ].join('\n');
}
