/** Models, tasks and settings, for reproduction. */

import type { TaskResult } from '@meap/evals';
import { html } from '@meap/recipe-cli';
import type { Section } from '@meap/reports';
import type { ComparedTask } from './comparisons.ts';
import type { EvaluatedModel } from './report-input.ts';
import { taskTitle } from './task-names.ts';

/** Renders models, tasks with their settings, and skipped rows. */
export function setupSection(models: readonly EvaluatedModel[], tasks: readonly ComparedTask[]): Section {
  return {
    heading: 'Setup',
    blocks: [
      {
        kind: 'table',
        caption: 'Models',
        columns: ['Model', 'Context, tokens', 'Fingerprint'],
        rows: models.map(({ name, fingerprint, results }) => [
          name,
          results[0] && knownLength(results[0].model),
          { value: html`<code>${fingerprint.slice(0, 16)}</code>` },
        ]),
      },
      {
        kind: 'table',
        caption: 'Tasks',
        columns: ['Task', 'Version', ...models.map(({ name }) => `Rows, ${name}`)],
        rows: tasks.map(({ task, results }) => [
          task,
          [...new Set(results.flatMap((result) => result?.version ?? []))].join(' / '),
          ...results.map((result) => result && rows(result)),
        ]),
        notes: skippedNotes(models, tasks),
      },
      html`<details><summary>Settings of the tasks</summary>
${tasks.map(
  ({ task, results }) => html`<h3>${taskTitle(task)}</h3>
<pre>${JSON.stringify(results.find((result) => result !== undefined)?.config, null, 2)}</pre>
`,
)}</details>`,
    ],
  };
}

function rows({ samples, skipped, numRows }: TaskResult) {
  const numEvaluated = samples.length + skipped.length;
  const notes = [
    ...(skipped.length > 0 ? [`${skipped.length} skipped`] : []),
    ...(numRows !== undefined && numRows > numEvaluated ? [`of ${numRows}`] : []),
  ];
  return { value: String(samples.length), note: notes.length > 0 ? notes.join(', ') : undefined };
}

/** The context of a model, where it is known. */
const knownLength = ({ contextLength }: TaskResult['model']) =>
  contextLength === Number.MAX_SAFE_INTEGER ? undefined : String(contextLength);

/** Returns the number of skipped rows and the first reason; reasons of other rows may contain other numbers. */
function skippedNotes(models: readonly EvaluatedModel[], tasks: readonly ComparedTask[]): string[] {
  return tasks.flatMap(({ task, results }) =>
    results.flatMap((result, index) => {
      if (!result || result.skipped.length === 0) return [];
      const [{ id, reason }] = result.skipped;
      return [
        `${models[index].name}, ${taskTitle(task)}: ${result.skipped.length} skipped, the first (${id}): ${reason}.`,
      ];
    }),
  );
}
