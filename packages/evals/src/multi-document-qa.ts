/** Multi-document question answering (Liu et al. 2023, lost in the middle): one of k documents has the answer. */
import { means } from './aggregation.ts';
import { bestSubspanMatch } from './answer-match.ts';
import { EvalsError } from './error.ts';
import { requirePositions, usualPositions } from './key-value-retrieval.ts';
import { type PromptEncoding, textItem } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import { strip } from './python-text.ts';
import { type RowReader, readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link multiDocumentQaTask}. */
export interface MultiDocumentQaOptions extends PromptEncoding {
  /** Documents of a prompt, including the one with the answer; at least 2. */
  readonly numDocuments: number;
  /** Positions of the document with the answer, from 1; by default the first, every fifth and the last. */
  readonly positions?: readonly number[];
  /**
   * Source of the documents without the answer.
   *
   * - `retrieved` (default), as published: the first other documents of the row, in order.
   * - `other-answers`: random documents that answer *other* rows' questions, for data sets with one document per row.
   *   This is easier, and the task is named `mdqa_20_other_answers`.
   */
  readonly distractors?: 'retrieved' | 'other-answers';
  /** Seed of the draw of `other-answers`; default 0. */
  readonly seed?: number;
  /** Maximum tokens of a prompt; longer ones are skipped. By default the model's limit; 4096 in the published program. */
  readonly maxPromptTokens?: number;
  /** Default 100. */
  readonly maxNewTokens?: number;
}

interface Document {
  readonly title: string;
  readonly text: string;
}
interface Example {
  readonly question: string;
  readonly answers: readonly string[];
  /** Documents with the answer: several for multi-hop questions, which stay together. */
  readonly gold: readonly Document[];
  readonly others: readonly Document[];
}

/**
 * `mdqa_20`, or with another number of documents; `best_subspan_em` is 1 if the first line of the response contains one
 * of the answers, in groups `position`.
 *
 * Several documents with the answer are consecutive from the position, or at the end if they would not fit. Rows with
 * too few documents and prompts that are too long are skipped.
 *
 * @param rows records `{question, answers, ctxs: [{title, text, isgold}]}`; `hasanswer` replaces `isgold` if no document
 *   has a true `isgold`
 * @throws EvalsError for rows of another shape or without an answer, and options out of range
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
    metrics: means(['best_subspan_em']),
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
    numQuestions: examples.length,
    *items(model, maxQuestions): Iterable<TaskItem> {
      for (const [index, example] of examples.slice(0, maxQuestions).entries()) {
        const { question, answers, gold } = example;
        const count = numDocuments - gold.length;
        const others =
          distractors === 'retrieved' ? example.others : documentsOfOthers(examples, index, count, seed);
        for (const position of positions) {
          const documents = others.slice(0, Math.max(count, 0));
          documents.splice(Math.min(position - 1, documents.length), 0, ...gold);
          const prompt = questionPrompt(question, documents);
          // Only the first line counts, since a model that repeats its documents gives every answer.
          const options = { maxNewTokens, stop: ['\n'], maxPromptTokens, bos };
          const row = { id: `${index}-${position}`, groups: { position }, shown: { answers }, prompt };
          const item = textItem(model, { ...row, ...options }, (text) => ({
            best_subspan_em: bestSubspanMatch(strip(text.split('\n')[0]), answers),
          }));
          const reason = `${documents.length} documents, expected ${numDocuments}`;
          yield documents.length === numDocuments ? item : { ...item, ask: { kind: 'skip', reason } };
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
 * Distinct documents that answer other questions and contain none of this question's answers.
 *
 * The draw depends on seed and row only, so it is the same for all positions and models.
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
