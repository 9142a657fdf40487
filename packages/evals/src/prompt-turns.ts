/**
 * Prompts of lm-evaluation-harness 0.4.13: a description, examples and the question, as text or as the messages of a chat
 * template (`ConfigurableTask.fewshot_context` in `lm_eval/api/task.py`).
 */
import { EvalsError } from './error.ts';
import { ExampleSampler, type ExampleSource, FEWSHOT_SEED, type FewShotOptions } from './few-shot.ts';
import type { ChatMessage } from './language-model.ts';
import { strip } from './python-text.ts';
import type { TaskModel } from './task.ts';

/** How the questions of a task become prompts. */
export interface PromptOptions extends FewShotOptions {
  /** Whether prompts are conversations in the model's chat template. */
  readonly applyChatTemplate?: boolean;
  /** Whether each example is an exchange of its own, instead of all in one message; default true. */
  readonly fewshotAsMultiturn?: boolean;
  /** Text before all others: the system message of a conversation. */
  readonly systemInstruction?: string;
}

/** The texts of a task's prompts. */
export interface PromptLayout {
  readonly name: string;
  /** Text before the examples; a function of the evaluated row where it differs by row. */
  readonly description?: string | ((row: unknown) => string);
  /** Start of the answer to a row, which a question and each example have; not with a chat template. */
  readonly answerPrefix?: (row: unknown) => string;
  /** Between a question and its answer; default a space. */
  readonly delimiter?: string;
  /** After an example; default an empty line. */
  readonly fewshotDelimiter?: string;
  /** Where examples come from; absent for a task without examples. */
  readonly examples?: ExampleSource;
}

/** An example of a prompt. */
export interface Example {
  readonly question: string;
  readonly answer: string;
  /** Whether there is an answer, possibly an empty text; default: where it is not empty. */
  readonly isAnswered?: boolean;
}

/** A message and the text after it in a prompt without a chat template. */
interface Turn extends ChatMessage {
  readonly delimiter: string;
}

/** Returns the prompt with a question at its end. */
type PromptOf = (question: string) => string;

/** Creates the prompts of a task. */
export interface Prompts {
  /** Settings for result files. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Between a prompt and the text that is scored after it; under a chat template there is none. */
  readonly delimiter: string;
  /** Starts over with the first row; call the result once for each row, in order. */
  start(model: TaskModel): (row: unknown) => PromptOf;
}

/**
 * @param rows the evaluated rows, from which examples are taken if there are no `fewshotRows`
 * @param readExample reads a row of the split of examples; `where` names it
 * @throws EvalsError for more examples than the split has; from `start` for a model without chat template
 */
export function promptsOf(
  layout: PromptLayout,
  options: PromptOptions,
  rows: readonly unknown[],
  readExample: (row: unknown, where: string) => Example,
): Prompts {
  const { name, description = '', delimiter = ' ', fewshotDelimiter = '\n\n', examples } = layout;
  const { applyChatTemplate = false, fewshotAsMultiturn = true, systemInstruction } = options;
  const { fewshotRows = rows, fewshotSeed = FEWSHOT_SEED } = options;
  const numFewshot = (examples && options.numFewshot) ?? examples?.numFewshot ?? 0;
  const source = examples ?? { split: 'none' };
  const sampler = () => new ExampleSampler(name, source, fewshotRows, numFewshot, fewshotSeed);
  sampler();
  const openingOf = (row: unknown): Turn[] => {
    const described = typeof description === 'string' ? description : description(row);
    const system = joinTexts(systemInstruction, described, fewshotDelimiter);
    return system === '' ? [] : [{ role: 'system', content: system, delimiter: '' }];
  };
  const prefixOf = (row: unknown) => layout.answerPrefix?.(row) ?? '';
  if (applyChatTemplate && layout.answerPrefix) {
    throw new EvalsError(
      `${name}: apply_chat_template is on, but answers start with gen_prefix, which chat templates do not continue; leave out one of them`,
    );
  }
  const read = new Map<number, Turn[]>();
  const turnsOf = (index: number): Turn[] => {
    const known = read.get(index);
    if (known) return known;
    const example = readExample(fewshotRows[index], `${name}, row ${index} of ${source.split}`);
    const { question, answer, isAnswered = answer !== '' } = example;
    const prefix = prefixOf(fewshotRows[index]);
    const turns = [questionTurn(question, prefix, isAnswered ? delimiter : '', delimiter)];
    if (isAnswered || prefix !== '') {
      const content = joinTexts(prefix, answer, ' ');
      turns.push({ role: 'assistant', content, delimiter: isAnswered ? fewshotDelimiter : '' });
    }
    read.set(index, turns);
    return turns;
  };
  return {
    config: {
      num_fewshot: numFewshot,
      ...(numFewshot > 0 && { fewshot_split: source.split, fewshot_seed: fewshotSeed }),
      ...(typeof description === 'string' && description !== '' && { description }),
      target_delimiter: delimiter,
      fewshot_delimiter: fewshotDelimiter,
      ...(applyChatTemplate && { apply_chat_template: true, fewshot_as_multiturn: fewshotAsMultiturn }),
      ...(systemInstruction !== undefined && { system_instruction: systemInstruction }),
    },
    delimiter: applyChatTemplate ? '' : delimiter,
    start({ chat }) {
      if (applyChatTemplate && chat === undefined) {
        throw new EvalsError(
          `${name}: apply_chat_template is on, but the model was opened without a chat template; open it with one`,
        );
      }
      const draws = sampler();
      return (row) => {
        const before = [...openingOf(row), ...draws.next(row).flatMap(turnsOf)];
        const prefix = prefixOf(row);
        const after: Turn[] = prefix === '' ? [] : [{ role: 'assistant', content: prefix, delimiter: '' }];
        return (question) => {
          const turns: Turn[] = [...before, questionTurn(question, prefix, '', delimiter), ...after];
          if (!applyChatTemplate) return textOf(turns);
          return chat!.render(fewshotAsMultiturn ? turns.map(messageOf) : inOneMessage(turns));
        };
      };
    },
  };
}

/** A question; before the start of an answer there is a delimiter unless there is white space. */
function questionTurn(content: string, prefix: string, delimiter: string, ifPrefixed: string): Turn {
  const isJoined = content === '' || joinTexts(content, prefix, 'x') === content + prefix;
  return { role: 'user', content, delimiter: prefix === '' ? delimiter : isJoined ? '' : ifPrefixed };
}

const messageOf = ({ role, content }: Turn): ChatMessage => ({ role, content });

const textOf = (turns: readonly Turn[]) =>
  turns.map(({ content, delimiter }) => content + delimiter).join('');

/** All messages but that of the system as one. */
function inOneMessage(turns: readonly Turn[]): ChatMessage[] {
  const isSystem = ({ role }: Turn) => role === 'system';
  const others = turns.filter((turn) => !isSystem(turn));
  return [...turns.filter(isSystem).map(messageOf), { role: 'user', content: textOf(others) }];
}

/** Joins two texts, by the delimiter unless there is white space already. */
function joinTexts(first = '', second: string, delimiter: string): string {
  if (first === '' || second === '') return first + second;
  const isSpaced = strip(first.slice(-1)) === '' || strip(second.slice(0, 1)) === '';
  return first + (isSpaced ? '' : delimiter) + second;
}
