/** Titles of tasks and metrics. */
import { families } from '@meap/eval-recipes';

const METRICS: Readonly<Record<string, string>> = {
  acc: 'Accuracy',
  acc_norm: 'Accuracy by likelihood per character',
  acc_bytes: 'Accuracy by likelihood per byte',
  exact_match: 'Exact match',
  best_subspan_em: 'Answers found',
  rouge1_recall: 'ROUGE-1 recall',
  rouge1_f1: 'ROUGE-1 F1',
  unigram_overlap: 'Unigram overlap',
  score: 'Score',
  string_match_all: 'Answers found',
  hallucination_free: 'Free of hallucination',
  unparsed: 'Unparsable verdicts',
  unsupported_words: 'Words not in the article',
  unsupported_numbers: 'Numbers not in the article',
  perplexity: 'Perplexity',
  word_perplexity: 'Perplexity per word',
  byte_perplexity: 'Perplexity per byte',
  bits_per_byte: 'Bits per byte',
};

export function taskTitle(task: string): string {
  for (const [, family] of families) {
    const title = family.title?.(task);
    if (title !== undefined) return title;
  }
  return task;
}

export function metricTitle(metric: string): string {
  const [name, filter] = metric.split(',');
  const title = Object.hasOwn(METRICS, name) ? METRICS[name] : name;
  return filter === undefined ? title : `${title} (${filter})`;
}
