/**
 * The zero-shot tasks of the MEAP paper (Tables 1, 5, 6, 13–15) and Social IQa.
 *
 * Prompts, metrics and versions are those of lm-evaluation-harness 0.4.13 (`lm_eval/tasks`). Each task reads the records
 * of the Hugging Face hub, those of the authors' downloads, and the rendered records of MosaicML's llm-foundry
 * (`{query, choices, gold}`, WinoGrande `{context_options, continuation, gold}`), from whose fields it forms the same
 * prompt.
 */
import type { MultipleChoice, Question } from './multiple-choice.ts';
import { capitalize, strip, stripEnd } from './python-text.ts';
import type { RowReader } from './row-reader.ts';

/** Examples are drawn from the split of training; where the harness names no test split, it draws one more. */
const TRAIN = { split: 'train' } as const;
const TRAIN_WITHOUT_ROW = { split: 'train', excludesRow: true } as const;

const NORMALIZED = ['acc', 'acc_norm', 'acc_bytes'] as const;

const arc: Omit<MultipleChoice, 'name'> = {
  version: 1,
  metrics: NORMALIZED,
  prompt: 'Question: {question}\nAnswer:',
  examples: TRAIN,
  read: (row) => (isRendered(row) ? rendered(row, questionOf) : scienceQuestion(row, 'question')),
};

const piqa: MultipleChoice = {
  name: 'piqa',
  version: 1,
  metrics: NORMALIZED,
  prompt: 'Question: {question}\nAnswer:',
  examples: TRAIN_WITHOUT_ROW,
  read: (row) =>
    isRendered(row)
      ? rendered(row, questionOf)
      : {
          fields: { question: row.text('goal') },
          choices: [row.text('sol1'), row.text('sol2')],
          // The authors' download has labels in a separate file; add them to the rows as `label`.
          gold: row.integer('label', 0, 1),
        },
};

const openBookQa: MultipleChoice = {
  name: 'openbookqa',
  version: 1,
  metrics: NORMALIZED,
  prompt: '{question}',
  examples: TRAIN,
  read: (row) =>
    isRendered(row) ? rendered(row, (query) => ({ question: query })) : scienceQuestion(row, 'question_stem'),
};

const boolQ: MultipleChoice = {
  name: 'boolq',
  version: 2,
  metrics: ['acc'],
  prompt: '{passage}\nQuestion: {question}?\nAnswer:',
  examples: TRAIN_WITHOUT_ROW,
  read(row) {
    if (isRendered(row)) {
      return rendered(row, (query) => {
        const parts = /^Passage: (.*)\nQuestion: (.*)\?\s*$/s.exec(query);
        return parts === null
          ? row.fail('query', '"Passage: …\\nQuestion: …?"')
          : { passage: parts[1], question: parts[2] };
      });
    }
    // google/boolq has `answer`, SuperGLUE `label`: true or false in its archive, 1 or 0 on the Hugging Face Hub.
    const label = row.boolean(row.has('answer') ? 'answer' : 'label');
    return {
      fields: { passage: row.text('passage'), question: row.text('question') },
      choices: ['no', 'yes'],
      gold: Number(label),
    };
  },
};

const hellaSwag: MultipleChoice = {
  name: 'hellaswag',
  version: 1,
  metrics: NORMALIZED,
  prompt: '{query}',
  examples: TRAIN_WITHOUT_ROW,
  read(row) {
    if (isRendered(row)) return rendered(row, (query) => ({ query }));
    const choices = row.texts('endings').map(cleanWikiHow);
    const query = row.has('ctx_a', 'ctx_b')
      ? `${row.text('activity_label')}: ${row.text('ctx_a')} ${capitalize(row.text('ctx_b'))}`
      : withLargeLastSentence(row.text('ctx'));
    return {
      fields: { query: cleanWikiHow(query) },
      choices,
      gold: row.integer('label', 0, choices.length - 1),
    };
  },
};

const winoGrande: MultipleChoice = {
  name: 'winogrande',
  version: 1,
  metrics: ['acc'],
  // The sentence continues in the same way after either option: the rest is scored.
  prompt: '{before}{choice}',
  target: '{after}',
  examples: TRAIN_WITHOUT_ROW,
  read(row) {
    if (row.has('context_options')) {
      const choices = row.texts('context_options');
      const fields = { before: '', after: strip(row.text('continuation')) };
      return { fields, choices, gold: row.integer('gold', 0, choices.length - 1) };
    }
    const [before, after] =
      splitOnce(row.text('sentence'), '_') ?? row.fail('sentence', 'a text with _ in it');
    return {
      fields: { before, after: strip(after) },
      choices: [row.text('option1'), row.text('option2')],
      gold: row.integer('answer', 1, 2) - 1,
    };
  },
};

const socialIqa: MultipleChoice = {
  name: 'social_iqa',
  version: 0,
  metrics: ['acc'],
  prompt: 'Q: {context} {question}\nA:',
  examples: TRAIN_WITHOUT_ROW,
  read: (row) => ({
    fields: { context: row.text('context'), question: row.text('question') },
    choices: [row.text('answerA'), row.text('answerB'), row.text('answerC')],
    gold: row.integer('label', 1, 3) - 1,
  }),
};

/** Definitions of tasks by name, for `multipleChoiceTask(zeroShot.piqa, rows)`. */
export const zeroShot = {
  arc_easy: { name: 'arc_easy', ...arc },
  arc_challenge: { name: 'arc_challenge', ...arc },
  boolq: boolQ,
  hellaswag: hellaSwag,
  openbookqa: openBookQa,
  piqa,
  winogrande: winoGrande,
  social_iqa: socialIqa,
} as const satisfies Record<string, MultipleChoice>;

/**
 * Defines a task over rendered rows `{query, choices, gold}`: each choice is scored after the query and a space. Examples
 * are other rows.
 */
export function renderedMultipleChoice(name: string): MultipleChoice {
  return {
    name,
    version: 1,
    metrics: NORMALIZED,
    prompt: '{query}',
    examples: { split: 'rows', excludesRow: true },
    read: (row) => rendered(row, (query) => ({ query })),
  };
}

const isRendered = (row: RowReader) => row.has('query');

/** MosaicML's `{query, choices, gold}`. */
function rendered(row: RowReader, fieldsOf: (query: string) => Record<string, string>): Question {
  const choices = row.texts('choices');
  return { fields: fieldsOf(row.text('query')), choices, gold: row.integer('gold', 0, choices.length - 1) };
}

/** The question of a query `Question: …`, without trailing white space. */
const questionOf = (query: string) => ({ question: stripEnd(query).replace(/^Question: /, '') });

/** ARC and OpenBookQA, from the hub or from AI2's download: `question: {stem, choices: [{text, label}]}`. */
function scienceQuestion(row: RowReader, stemField: string): Question {
  const isOriginal = row.has('question.stem');
  const inner = isOriginal ? row.rows('question.choices') : [];
  const choices = isOriginal ? inner.map((choice) => choice.text('text')) : row.texts('choices.text');
  const labels = isOriginal ? inner.map((choice) => choice.text('label')) : row.texts('choices.label');
  const gold = labels.map(strip).indexOf(strip(row.text('answerKey')));
  if (gold < 0 || gold >= choices.length) row.fail('answerKey', `one of ${labels.join(', ')}`);
  return { fields: { question: row.text(isOriginal ? 'question.stem' : stemField) }, choices, gold };
}

/** Removes marks of WikiHow pages, the source of half of HellaSwag, as the harness does. */
function cleanWikiHow(text: string): string {
  return strip(text)
    .replaceAll(' [title]', '. ')
    .replaceAll(/\[[^\n]*?\]/g, '')
    .replaceAll('  ', ' ');
}

/**
 * The context of `{ctx, endings, label}` records, which join its two parts: the second one, which the harness
 * capitalizes, is assumed to be the text after the last full stop if it starts with a lower-case letter.
 */
function withLargeLastSentence(context: string): string {
  return context.replace(
    /([.!?] )(\p{Ll}[^.!?]*)$/u,
    (_, end: string, last: string) => end + capitalize(last),
  );
}

function splitOnce(text: string, mark: string): [string, string] | undefined {
  const at = text.indexOf(mark);
  return at < 0 ? undefined : [text.slice(0, at), text.slice(at + mark.length)];
}
