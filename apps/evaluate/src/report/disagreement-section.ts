/** Rows that one model has right and the other wrong. */
import { type Html, html } from '@meap/recipe-cli';
import type { Block, Section, Table } from '@meap/reports';
import { type ComparedTask, listedDisagreement } from './comparisons.ts';
import type { EvaluatedModel, ReportInput } from './report-input.ts';
import { metricTitle, taskTitle } from './task-names.ts';

/** Renders the numbers and the first rows for each model beside the first; empty without such rows. */
export function disagreementSection(
  models: readonly EvaluatedModel[],
  tasks: readonly ComparedTask[],
  logged: ReportInput['logged'] = [],
): Section {
  const [base, ...others] = models;
  const blocks = others.flatMap(({ name }, index): Block[] => {
    const rows = tasks.flatMap((task) => rowsOf(task, index) ?? []);
    if (rows.length === 0) return [];
    const texts = rows.flatMap(
      (row) => textsOf(row, [base.name, name], [logged[0], logged[index + 1]]) ?? [],
    );
    return [table(rows, base.name, name), ...texts];
  });
  return { heading: 'Rows in which models disagree', blocks };
}

type Rows = NonNullable<ReturnType<typeof rowsOf>>;

function rowsOf({ task, comparisons }: ComparedTask, index: number) {
  const comparison = comparisons[index];
  const found = comparison && listedDisagreement(comparison);
  return found && { task, title: `${taskTitle(task)}, ${metricTitle(found.metric)}`, ...found.disagreement };
}

function table(rows: readonly Rows[], a: string, b: string): Table {
  const ids = (title: string, model: string, count: number, listed: readonly string[]) => {
    const more = count > listed.length ? `, and ${count - listed.length} more` : '';
    return count === 0 ? [] : [`${title}, only ${model}: ${listed.join(', ')}${more}.`];
  };
  return {
    kind: 'table',
    caption: `Rows that only ${a} or only ${b} has right`,
    columns: ['Task', `Only ${a}`, `Only ${b}`],
    rows: rows.map(({ title, numOnlyA, numOnlyB }) => [title, String(numOnlyA), String(numOnlyB)]),
    notes: rows.flatMap(({ title, numOnlyA, numOnlyB, onlyA, onlyB }) => [
      ...ids(title, a, numOnlyA, onlyA),
      ...ids(title, b, numOnlyB, onlyB),
    ]),
    isFolded: true,
  };
}

/** The rows with their questions and answers; undefined unless both models logged them. */
function textsOf(
  { task, title, onlyA, onlyB }: Rows,
  names: readonly [string, string],
  logged: readonly NonNullable<ReportInput['logged']>[number][],
): Html | undefined {
  const entries = [...onlyA, ...onlyB].flatMap((id) => {
    const [ofA, ofB] = logged.map((rows) => rows?.[task]?.get(id));
    return ofA && ofB ? [{ id, ofA, ofB }] : [];
  });
  if (entries.length === 0) return undefined;
  return html`<details><summary>${title}: questions and answers of ${names[0]} and ${names[1]}</summary>
${entries.map(
  ({ id, ofA, ofB }) => html`<h3>Row ${id}</h3>
<pre>${ofA.question}</pre>
<ul><li>right: ${ofA.target}</li><li>${names[0]}: ${ofA.answer}</li><li>${names[1]}: ${ofB.answer}</li></ul>
`,
)}</details>`;
}
