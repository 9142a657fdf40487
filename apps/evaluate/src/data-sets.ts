/** Data that tasks need, where it is published, and how its files are recognised in a folder. */

/** A data set that one or several tasks read. */
export interface DataSet {
  /** What it is, for people. */
  readonly what: string;
  /** Where it comes from: name on the Hugging Face hub or publication, and the files of it. */
  readonly source: string;
  /** Names of its files, best first: as on the hub, as its authors offer them, under the task's name. */
  readonly patterns: readonly string[];
}

const RECORDS = '{csv,json,jsonl,parquet}{,.gz,.zst}';

function named(...stems: string[]): string[] {
  return stems.map((stem) => `**/${stem}*.${RECORDS}`);
}

/** All data sets by the name that `data.NAME` gives them in a recipe. */
export const DATA_SETS = {
  arc_easy: {
    what: 'ARC-Easy, test split',
    source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Easy/test-*.parquet',
    patterns: ['**/ARC-Easy/test-*.parquet', ...named('ARC-Easy-Test', 'arc_easy')],
  },
  arc_challenge: {
    what: 'ARC-Challenge, test split',
    source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Challenge/test-*.parquet',
    patterns: ['**/ARC-Challenge/test-*.parquet', ...named('ARC-Challenge-Test', 'arc_challenge')],
  },
  boolq: {
    what: 'BoolQ, validation split',
    source: 'aps/super_glue (boolq) or google/boolq on the Hugging Face hub: validation-*.parquet',
    patterns: ['**/boolq/**/validation-*.parquet', ...named('boolq*val', 'boolq*dev', 'boolq')],
  },
  hellaswag: {
    what: 'HellaSwag, validation split',
    source: 'Rowan/hellaswag on the Hugging Face hub: validation-*.parquet',
    patterns: ['**/hellaswag/**/validation-*.parquet', ...named('hellaswag*val', 'hellaswag')],
  },
  lambada_openai: {
    what: 'LAMBADA as OpenAI prepared it, test split',
    source: 'EleutherAI/lambada_openai on the Hugging Face hub: default, test split',
    patterns: ['**/lambada_openai/**/*test*.{jsonl,parquet}', ...named('lambada')],
  },
  openbookqa: {
    what: 'OpenBookQA, test split',
    source: 'allenai/openbookqa on the Hugging Face hub: main/test-*.parquet',
    patterns: ['**/openbookqa/main/test-*.parquet', ...named('openbookqa*test', 'openbook*qa')],
  },
  piqa: {
    what: 'PIQA, validation split',
    source: 'baber/piqa on the Hugging Face hub: validation split, with labels',
    patterns: ['**/piqa/**/*validation*.parquet', ...named('piqa.', 'piqa*val', 'piqa')],
  },
  social_iqa: {
    what: 'Social IQa, validation split',
    source: 'lighteval/siqa on the Hugging Face hub: validation split',
    patterns: ['**/siqa/**/*validation*.parquet', ...named('social_i*qa', 'siqa')],
  },
  winogrande: {
    what: 'WinoGrande XL, validation split',
    source: 'allenai/winogrande on the Hugging Face hub: winogrande_xl, validation split',
    patterns: [
      '**/winogrande_xl/validation-*.parquet',
      ...named('winogrande*dev', 'winogrande*val', 'winogrande'),
    ],
  },
  texts: {
    what: 'texts to predict: .txt files, or records with a field text',
    source: 'for WikiText-2: EleutherAI/wikitext_document_level on the Hugging Face hub, test split',
    patterns: ['**/wikitext*test*.{txt,jsonl,parquet}'],
  },
  haystack: {
    what: 'long texts to hide things in, such as Paul Graham’s essays as .txt files',
    source: 'the repository LLMTest_NeedleInAHaystack by Greg Kamradt: PaulGrahamEssays/*.txt',
    patterns: ['**/PaulGrahamEssays/*.txt'],
  },
  mdqa: {
    what: 'questions with 20 documents each, one of which has the answer',
    source:
      'the repository lost-in-the-middle by Liu et al.: qa_data/20_total_documents/nq-open-20_total_documents_gold_at_0.jsonl.gz',
    patterns: ['**/nq-open-20_total_documents_gold_at_0.jsonl{,.gz}', ...named('mdqa')],
  },
  kv_retrieval: {
    what: 'key-value pairs, one of which is asked for',
    source:
      'the repository lost-in-the-middle by Liu et al.: kv_retrieval_data/kv-retrieval-75_keys.jsonl.gz',
    patterns: named('kv-retrieval'),
  },
  m_rs: {
    what: 'multi-needle reasoning records of NeedleBench, English',
    source: 'opencompass/NeedleBench on the Hugging Face hub: multi_needle_reasoning_en.json',
    patterns: ['**/multi_needle_reasoning_en.json'],
  },
  xsum: {
    what: 'XSum, test split',
    source: 'EdinburghNLP/xsum on the Hugging Face hub',
    patterns: named('xsum*test', 'xsum'),
  },
  multi_news: {
    what: 'Multi-News, test split',
    source: 'alexfabbri/multi_news on the Hugging Face hub',
    patterns: named('multi_news*test', '*multi_news'),
  },
  wikisum: {
    what: 'WikiSum, test split',
    source: 'd0rj/wikisum on the Hugging Face hub',
    patterns: named('wikisum*test', 'wikisum'),
  },
  attention_prompts: {
    what: 'records {context_before, answer, context_after, query} of text',
    source: 'your own: a prompt cut where the answer to its query begins and ends',
    patterns: named('attention_prompts'),
  },
} as const satisfies Record<string, DataSet>;

/** Name of a data set. */
export type DataSetName = keyof typeof DATA_SETS;
