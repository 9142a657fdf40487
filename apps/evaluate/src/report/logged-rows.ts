/** Rows of `samples_TASK.jsonl` that a report shows. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { RunError, reasonOf } from '@meap/recipe-cli';
import { compareModels, listedDisagreement } from './comparisons.ts';
import type { EvaluatedModel, LoggedRow, ReportInput } from './report-input.ts';

/** Characters of a text that are shown. */
const MAX_QUESTION = 300;
const MAX_ANSWER = 120;

/**
 * Reads the rows in which a model disagrees with the first, of tasks whose samples were logged.
 *
 * @throws RunError for a damaged file
 */
export async function readLoggedRows(
  models: readonly EvaluatedModel[],
): Promise<NonNullable<ReportInput['logged']>> {
  const listed = compareModels(models).flatMap(({ task, comparisons }) =>
    comparisons.flatMap((comparison, index) => {
      const found = comparison && listedDisagreement(comparison);
      if (!found) return [];
      const ids = [...found.disagreement.onlyA, ...found.disagreement.onlyB];
      return [0, index + 1].map((model) => ({ model, task, metric: found.metric, ids }));
    }),
  );
  return Promise.all(
    models.map(async ({ logs = {} }, model) => {
      const rows: Record<string, ReadonlyMap<string, LoggedRow>> = {};
      for (const [task, path] of Object.entries(logs)) {
        const own = listed.filter((entry) => entry.model === model && entry.task === task);
        if (own.length > 0)
          rows[task] = await readRows(path, new Set(own.flatMap(({ ids }) => ids)), own[0].metric);
      }
      return rows;
    }),
  );
}

async function readRows(
  path: string,
  ids: ReadonlySet<string>,
  metric: string,
): Promise<Map<string, LoggedRow>> {
  const [, filter = 'none'] = metric.split(',');
  const rows = new Map<string, LoggedRow>();
  let number = 0;
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number++;
    // Rows of tasks that the harness does not have begin otherwise, and the other rows need not be parsed.
    const id = line.match(/^\{"doc_id":(\d+),/)?.[1];
    if (id === undefined || !ids.has(id)) continue;
    try {
      const sample = JSON.parse(line) as LoggedSample;
      if (sample.filter === filter) rows.set(id, rowOf(sample));
    } catch (error) {
      throw new RunError(
        `${path}, line ${number}: cannot be read: ${reasonOf(error)}; expected a row of --log-samples, run the evaluation again`,
      );
    }
  }
  return rows;
}

/** A line of the harness; numbers and booleans are Python's texts of them. */
interface LoggedSample {
  readonly filter: string;
  readonly target: string;
  readonly arguments: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly filtered_resps: readonly (string | readonly [logLikelihood: string, isGreedy: string])[];
}

function rowOf({ target, arguments: requests, filtered_resps: answers }: LoggedSample): LoggedRow {
  const prompts = Object.values(requests);
  const question = ending(prompts[0].arg_0, MAX_QUESTION);
  const [first] = answers;
  if (typeof first === 'string') {
    return { question, target: beginning(target), answer: beginning(first) };
  }
  const scores = answers.map(([logLikelihood]) => Number(logLikelihood));
  // Choices differ in what is scored, or in the prompt.
  const differ = prompts.some(({ arg_1 }) => arg_1 !== prompts[0].arg_1);
  const choice = (index: number) =>
    differ ? beginning(prompts[index].arg_1) : ending(prompts[index].arg_0, MAX_ANSWER);
  const right = Number(target);
  return {
    question,
    target: prompts[right] ? choice(right) : beginning(target),
    answer: choice(scores.indexOf(Math.max(...scores))),
  };
}

const ending = (text: string, length: number) => (text.length > length ? `…${text.slice(-length)}` : text);
const beginning = (text: string) =>
  text.length > MAX_ANSWER ? `${text.slice(0, MAX_ANSWER)}…` : text.trim();
