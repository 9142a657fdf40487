/** Names of tasks and metrics as papers write them. */
const TASKS: Readonly<Record<string, string>> = {
  arc_easy: 'ARC-e',
  arc_challenge: 'ARC-c',
  boolq: 'BoolQ',
  hellaswag: 'HellaSwag',
  openbookqa: 'OpenBookQA',
  piqa: 'PIQA',
  winogrande: 'WinoGrande',
  social_iqa: 'Social IQa',
  lambada_openai: 'LAMBADA',
  perplexity: 'Perplexity of texts',
  niah: 'Needle in a haystack',
  needlebench_multi_reasoning: 'Multi-needle reasoning (M-RS)',
};

const FAMILIES: readonly (readonly [pattern: RegExp, title: (...found: string[]) => string])[] = [
  [/^mdqa_(\d+)$/, (count) => `Multi-document QA, ${count} documents`],
  [
    /^mdqa_(\d+)_other_answers$/,
    (count) => `Multi-document QA, ${count} documents, answers of others among them`,
  ],
  [/^kv_retrieval_(\d+)$/, (count) => `Key-value retrieval, ${count} keys`],
  [/^hallucination_(.+)$/, (set) => `Contextual hallucination, ${set}`],
  [/^ruler_(.+)$/, (task) => task],
];

const METRICS: Readonly<Record<string, string>> = {
  acc: 'Accuracy',
  acc_norm: 'Accuracy by likelihood per character',
  acc_bytes: 'Accuracy by likelihood per byte',
  best_subspan_em: 'Answers found',
  rouge1_recall: 'ROUGE-1 recall',
  rouge1_f1: 'ROUGE-1 F1',
  unigram_overlap: 'Unigram overlap',
  score: 'Score',
  string_match_all: 'Answers found',
  hallucination_free: 'Free of hallucination',
  unparsed: 'Verdicts that could not be read',
  unsupported_words: 'Words the article lacks',
  unsupported_numbers: 'Numbers the article lacks',
  perplexity: 'Perplexity',
  word_perplexity: 'Perplexity per word',
  byte_perplexity: 'Perplexity per byte',
  bits_per_byte: 'Bits per byte',
};

/** What a report calls a task: its own name where papers have none. */
export function taskTitle(task: string): string {
  if (Object.hasOwn(TASKS, task)) return TASKS[task];
  for (const [pattern, title] of FAMILIES) {
    const found = pattern.exec(task);
    if (found) return title(...found.slice(1));
  }
  return task;
}

/** What a report calls a metric: its own name where there is none for people. */
export function metricTitle(metric: string): string {
  return Object.hasOwn(METRICS, metric) ? METRICS[metric] : metric;
}

/** A name of files, whatever the task is called. */
export function fileName(...parts: readonly (string | number)[]): string {
  return parts
    .join('-')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .slice(0, 100);
}
