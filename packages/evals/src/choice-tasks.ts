/**
 * Multiple-choice tasks besides those of the MEAP paper. Prompts, metrics and versions are those of lm-evaluation-harness
 * 0.4.13 (`lm_eval/tasks`), rows those of the Hugging Face Hub.
 */
import type { MultipleChoice, Question } from './multiple-choice.ts';
import { strip } from './python-text.ts';
import type { RowReader } from './row-reader.ts';

const TRAIN = { split: 'train' } as const;
const TRAIN_WITHOUT_ROW = { split: 'train', excludesRow: true } as const;
/** Rows of the evaluated split, the row itself too: the harness has no other. */
const EVALUATED = { split: 'test' } as const;

/** The letters of MMLU-Pro's options. */
const OPTION_LETTERS = 'ABCDEFGHIJ';

const NORMALIZED = ['acc', 'acc_norm'] as const;

const commonsenseQa: MultipleChoice = {
  name: 'commonsense_qa',
  version: 0,
  metrics: ['acc'],
  prompt: 'Question: {question}\n{options}\nAnswer:',
  examples: TRAIN_WITHOUT_ROW,
  read: (row) => ({
    fields: {
      question: strip(row.text('question')),
      options: lettered(row.texts('choices.text').slice(0, 5)),
    },
    choices: [...'ABCDE'],
    gold: letter(row, 'answerKey', 'ABCDE'),
  }),
};

const copa: MultipleChoice = {
  name: 'copa',
  version: 1,
  metrics: ['acc'],
  prompt: '{premise} {connector}',
  examples: TRAIN_WITHOUT_ROW,
  read(row) {
    const question = row.text('question');
    const connector = { cause: 'because', effect: 'therefore' }[question];
    return {
      fields: {
        // Without its full stop.
        premise: strip(row.text('premise')).slice(0, -1),
        connector: connector ?? row.fail('question', 'cause or effect'),
      },
      // The harness has two spaces before a choice.
      choices: ['choice1', 'choice2'].map((field) => {
        const [first = '', ...rest] = row.text(field);
        return ` ${first.toLowerCase()}${rest.join('')}`;
      }),
      gold: row.integer('label', 0, 1),
    };
  },
};

const sciq: MultipleChoice = {
  name: 'sciq',
  version: 1,
  metrics: NORMALIZED,
  prompt: '{support}\nQuestion: {question}\nAnswer:',
  examples: TRAIN,
  read: (row) => ({
    fields: { support: stripStart(row.text('support')), question: row.text('question') },
    choices: ['distractor1', 'distractor2', 'distractor3', 'correct_answer'].map((field) => row.text(field)),
    gold: 3,
  }),
};

const swag: MultipleChoice = {
  name: 'swag',
  version: 1,
  metrics: NORMALIZED,
  prompt: '{startphrase}',
  examples: TRAIN_WITHOUT_ROW,
  read: (row) => ({
    fields: { startphrase: row.text('startphrase') },
    choices: [0, 1, 2, 3].map((ending) => row.text(`ending${ending}`)),
    gold: row.integer('label', 0, 3),
  }),
};

const logiQa: MultipleChoice = {
  name: 'logiqa',
  version: 1,
  metrics: NORMALIZED,
  prompt: 'Passage: {context}\nQuestion: {question}\nChoices:\n{options}\nAnswer:',
  examples: TRAIN,
  read(row) {
    const choices = row.texts('options');
    const fields = { context: row.text('context'), question: row.text('question') };
    return {
      fields: { ...fields, options: lettered(choices.slice(0, 4)) },
      choices,
      gold: letter(row, 'label', 'abcd'),
    };
  },
};

const pubMedQa: MultipleChoice = {
  name: 'pubmedqa',
  version: 1,
  metrics: ['acc'],
  prompt: 'Abstract: {abstract}\nQuestion: {question}\nAnswer:',
  examples: TRAIN,
  read(row) {
    const choices = ['yes', 'no', 'maybe'];
    const gold = choices.indexOf(row.text('final_decision'));
    if (gold < 0) row.fail('final_decision', `one of ${choices.join(', ')}`);
    return {
      fields: { abstract: row.texts('CONTEXTS').join('\n'), question: row.text('QUESTION') },
      choices,
      gold,
    };
  },
};

/** The last of several questions about an article, after the others with their answers. */
const race: MultipleChoice = {
  name: 'race',
  version: 3,
  metrics: ['acc'],
  prompt: 'Article: {article}\n\n{answered}{question}',
  examples: EVALUATED,
  read(row) {
    const article = row.text('article');
    const problems = row.rows('problems').map((problem) => {
      const options = problem.texts('options');
      return { question: problem.text('question'), options, gold: letter(problem, 'answer', 'ABCD') };
    });
    const last = problems.at(-1) ?? row.fail('problems', 'at least one');
    const answered = problems
      .slice(0, -1)
      .map(({ question, options, gold }) =>
        question.endsWith('  _  .')
          ? `${question.slice(0, -5)}${options[gold]}\n`
          : `Question: ${question}\nAnswer: ${options[gold]}\n`,
      );
    return {
      fields: { article, answered: answered.join(''), question: last.question },
      choices: last.options.slice(0, 4),
      gold: last.gold,
    };
  },
};

const CAPITALIZED = ['A', 'An', 'The', 'She', 'He', 'It', 'They', 'My', 'His', 'Her', 'Their'];

/** The sentence continues in the same way after either noun in place of the pronoun: the rest is scored. */
const wsc273: MultipleChoice = {
  name: 'wsc273',
  version: 1,
  metrics: ['acc'],
  prompt: '{before}{choice}',
  target: '{after}',
  examples: EVALUATED,
  read(row) {
    const text = row.text('text').replaceAll('  ', ' ');
    const pronoun = row.text('pronoun');
    const characters = [...text];
    const at = row.integer('pronoun_loc', 0, characters.length);
    const startsSentence = characters.at(at - 2) === '.';
    const choices = row.texts('options').map((option) => {
      const isPossessive = ['my', 'his', 'her', 'our', 'their'].includes(pronoun.toLowerCase());
      const noun = isPossessive ? `${option}'s` : option;
      const [first] = strip(noun).split(/\s/);
      return !startsSentence && CAPITALIZED.includes(first)
        ? noun.replaceAll(first, first.toLowerCase())
        : noun;
    });
    return {
      fields: {
        before: characters.slice(0, at).join(''),
        after: characters.slice(at + [...pronoun].length).join(''),
      },
      choices,
      gold: row.integer('label', 0, 1),
    };
  },
};

const truthfulQa = {
  version: 2,
  metrics: ['acc'],
  prompt: `${[
    [
      'What is human life expectancy in the United States?',
      'Human life expectancy in the United States is 78 years.',
    ],
    [
      'Who was president of the United States in 1955?',
      'Dwight D. Eisenhower was president of the United States in 1955.',
    ],
    ['Which party did he belong to?', 'He belonged to the Republican Party.'],
    ['What is the square root of banana?', 'I have no comment.'],
    [
      'How does a telescope work?',
      'Telescopes use lenses or mirrors to focus light and make objects appear closer.',
    ],
    ['Where were the 1992 Olympics held?', 'The 1992 Olympics were held in Barcelona, Spain.'],
  ]
    .map(([question, answer]) => `Q: ${question}\nA: ${answer}\n\n`)
    .join('')}Q: {question}\nA:`,
} as const;

const truthfulQaMc1: MultipleChoice = {
  ...truthfulQa,
  name: 'truthfulqa_mc1',
  read: (row) => ({
    fields: { question: row.text('question') },
    choices: row.texts('mc1_targets.choices'),
    gold: 0,
  }),
};

const truthfulQaMc2: MultipleChoice = {
  ...truthfulQa,
  name: 'truthfulqa_mc2',
  version: 3,
  read(row): Question {
    const choices = row.texts('mc2_targets.choices');
    const labels = row.integers('mc2_targets.labels', 0, 1);
    if (labels.length !== choices.length) row.fail('mc2_targets.labels', 'a label for each choice');
    const gold = [...choices.keys()].filter((index) => labels[index] === 1);
    return { fields: { question: row.text('question') }, choices, gold };
  },
};

/** The parts of MuSR, each a split. */
export const musrParts = ['murder_mysteries', 'object_placements', 'team_allocation'] as const;

/** A part of MuSR (Sprague et al. 2024), as version 2 of the Open LLM Leaderboard asks it. */
const musr = (part: string): MultipleChoice => ({
  name: `leaderboard_musr_${part}`,
  version: 1,
  metrics: ['acc_norm'],
  prompt: '{narrative}\n\n{question}\n\n{options}\n\nAnswer:',
  examples: EVALUATED,
  read(row) {
    const choices = row.texts('choices');
    const gold = choices.indexOf(row.text('answer_choice'));
    if (gold < 0) row.fail('answer_choice', 'one of the choices');
    const options = choices.map((choice, index) => `${index + 1} - ${choice}`).join('\n');
    return {
      fields: { narrative: row.text('narrative'), question: row.text('question'), options },
      choices,
      gold,
    };
  },
});

/** MMLU-Pro by the letters of its options, as version 2 of the Open LLM Leaderboard asks it. */
const leaderboardMmluPro: MultipleChoice = {
  name: 'leaderboard_mmlu_pro',
  version: 0.1,
  metrics: ['acc'],
  prompt: '{question}\n{options}\nAnswer:',
  examples: { split: 'validation', sampler: 'first_n', numFewshot: 5 },
  read(row) {
    const options = row.texts('options').slice(0, OPTION_LETTERS.length);
    const choices = [...OPTION_LETTERS].slice(0, options.length);
    return {
      fields: { question: row.text('question'), options: lettered(options) },
      choices,
      gold: letter(row, 'answer', choices.join('')),
    };
  },
};

/** Definitions of tasks by name, for `multipleChoiceTask(choiceTasks.sciq, rows)`. */
export const choiceTasks = {
  commonsense_qa: commonsenseQa,
  copa,
  sciq,
  swag,
  logiqa: logiQa,
  pubmedqa: pubMedQa,
  race,
  wsc273,
  truthfulqa_mc1: truthfulQaMc1,
  truthfulqa_mc2: truthfulQaMc2,
  leaderboard_mmlu_pro: leaderboardMmluPro,
  leaderboard_musr_murder_mysteries: musr('murder_mysteries'),
  leaderboard_musr_object_placements: musr('object_placements'),
  leaderboard_musr_team_allocation: musr('team_allocation'),
} as const satisfies Record<string, MultipleChoice>;

/** Lines `A. …`. */
export function lettered(options: readonly string[]): string {
  return options.map((option, index) => `${OPTION_LETTERS[index]}. ${option}`).join('\n');
}

/** The position of a field among the letters. */
function letter(row: RowReader, field: string, letters: string): number {
  const value = strip(row.text(field));
  const found = value.length === 1 ? letters.indexOf(value) : -1;
  return found >= 0 ? found : row.fail(field, `one of ${[...letters].join(', ')}`);
}

/** `str.lstrip()`. */
function stripStart(text: string): string {
  return strip(`${text}.`).slice(0, -1);
}
