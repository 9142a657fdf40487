/**
 * Multi-document question answering (Liu et al. 2023, lost in the middle): k documents, of which one has the answer,
 * at given positions among the others.
 */
import { mean } from './aggregation.ts';
import { bestSubspanMatch } from './answer-match.ts';
import { EvalsError } from './error.ts';
import { requirePositions, usualPositions } from './key-value-retrieval.ts';
import type { Generation } from './language-model.ts';
import { askForText, excerpt, type PromptEncoding } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import { strip } from './python-text.ts';
import { type RowReader, readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link multiDocumentQaTask}. */
export interface MultiDocumentQaOptions extends PromptEncoding {
  /** Documents of a prompt, the one with the answer included; at least 2. */
  readonly numDocuments: number;
  /** Places of the document with the answer, from 1; the first, every fifth and the last when absent. */
  readonly positions?: readonly number[];
  /**
   * Where the documents without the answer come from.
   *
   * - `retrieved` (default), as published: the row's own, the first ones in their order.
   * - `other-answers`: documents that answer *other* rows' questions, drawn at random, for sets with one document a
   *   row. Easier, as they are about other things; the task is then called `mdqa_20_other_answers`.
   */
  readonly distractors?: 'retrieved' | 'other-answers';
  /** Of the draw of `other-answers`; 0 when absent. */
  readonly seed?: number;
  /** Longest prompt in tokens, longer ones are skipped; 4096 in the published program for Llama 2, no limit but the model's when absent. */
  readonly maxPromptTokens?: number;
  /** 100 when absent. */
  readonly maxNewTokens?: number;
}

interface Document {
  readonly title: string;
  readonly text: string;
}
interface Example {
  readonly question: string;
  readonly answers: readonly string[];
  /** With the answer. Multi-hop questions have several, which stay together. */
  readonly gold: readonly Document[];
  readonly others: readonly Document[];
}

/**
 * `mdqa_20`, or as many documents as asked for; `best_subspan_em` is 1 where the answer's first line has one of the
 * right answers in it, in groups `position`.
 *
 * A question whose answer takes several documents has them one after the other from the position on, or at the end
 * where they would not fit. Rows with too few documents and prompts that are too long are skipped.
 *
 * @param rows Records `{question, answers, ctxs: [{title, text, isgold}]}`; where no document has a true `isgold`,
 *   `hasanswer` counts.
 * @throws EvalsError for rows of another shape or without a document with the answer, and options out of range.
 */
export function multiDocumentQaTask(rows: readonly unknown[], options: MultiDocumentQaOptions): Task {
  const { numDocuments, distractors = 'retrieved', seed = 0, maxPromptTokens, maxNewTokens = 100 } = options;
  const { positions = usualPositions(numDocuments, 5), bos = true } = options;
  const name = `mdqa_${numDocuments}${distractors === 'retrieved' ? '' : '_other_answers'}`;
  if (!(Number.isInteger(numDocuments) && numDocuments >= 2)) {
    throw new EvalsError(`mdqa: numDocuments is out of range, got ${numDocuments}, expected an integer ≥ 2`);
  }
  requirePositions(name, positions, numDocuments);
  const examples = rows.map((record, index) => readExample(readRow(`${name}, row ${index}`, record)));
  return {
    name,
    version: 1,
    metrics: [{ name: 'best_subspan_em', higherIsBetter: true, aggregation: mean }],
    config: {
      num_documents: numDocuments,
      positions,
      distractors,
      ...(distractors === 'other-answers' && { seed }),
      max_gold_documents: Math.max(...examples.map(({ gold }) => gold.length)),
      ...(maxPromptTokens !== undefined && { max_prompt_tokens: maxPromptTokens }),
      max_new_tokens: maxNewTokens,
      stop: ['\n'],
      bos,
    },
    numItems: examples.length * positions.length,
    *items(model): Iterable<TaskItem> {
      for (const [index, example] of examples.entries()) {
        const { question, answers, gold } = example;
        const count = numDocuments - gold.length;
        const others =
          distractors === 'retrieved' ? example.others : documentsOfOthers(examples, index, count, seed);
        for (const position of positions) {
          const documents = others.slice(0, Math.max(count, 0));
          documents.splice(Math.min(position - 1, documents.length), 0, ...gold);
          const prompt = questionPrompt(question, documents);
          yield {
            id: `${index}-${position}`,
            groups: { position },
            shown: { prompt: excerpt(prompt), answers },
            ask:
              documents.length === numDocuments
                ? // The first line is scored: a model that repeats its documents has every answer.
                  askForText(model, prompt, { maxNewTokens, stop: ['\n'], maxPromptTokens, bos })
                : { kind: 'skip', reason: `${documents.length} documents, ${numDocuments} are asked for` },
            measure: (generations) => {
              const [line] = (generations as readonly Generation[])[0].text.split('\n');
              return { best_subspan_em: { value: bestSubspanMatch(strip(line), answers) } };
            },
          };
        }
      }
    },
  };
}

function questionPrompt(question: string, documents: readonly Document[]): string {
  const results = documents.map(
    ({ title, text }, index) => `Document [${index + 1}](Title: ${title}) ${text}`,
  );
  return `Write a high-quality answer for the given question using only the provided search results (some of which might be irrelevant).\n\n${results.join('\n')}\n\nQuestion: ${question}\nAnswer:`;
}

/**
 * Documents that answer other questions, differ, and have none of this question's answers in them.
 *
 * The draw depends on seed and row only, so all positions and all models get the same.
 */
function documentsOfOthers(
  examples: readonly Example[],
  index: number,
  count: number,
  seed: number,
): Document[] {
  const random = new PythonRandom(seed * 2 ** 24 + index);
  const tried = new Set([index]);
  const found = new Map<string, Document>();
  while (found.size < count && tried.size < examples.length) {
    const other = random.integer(0, examples.length - 1);
    if (tried.has(other)) continue;
    tried.add(other);
    const [document] = examples[other].gold;
    const whole = `${document.title} ${document.text}`;
    if (bestSubspanMatch(whole, examples[index].answers) === 0) found.set(document.text, document);
  }
  return [...found.values()];
}

function readExample(row: RowReader): Example {
  const documents = row.rows('ctxs');
  const isGold = (flag: string) => documents.map((document) => document.has(flag) && document.boolean(flag));
  const flags = isGold('isgold').includes(true) ? isGold('isgold') : isGold('hasanswer');
  if (!flags.includes(true)) row.fail('ctxs', 'documents of which one has a true isgold or hasanswer');
  const all = documents.map((document) => ({ title: document.text('title'), text: document.text('text') }));
  return {
    question: row.text('question'),
    answers: row.texts('answers'),
    gold: all.filter((_, index) => flags[index]),
    others: all.filter((_, index) => !flags[index]),
  };
}
