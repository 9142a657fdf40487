/** Data sets, and those that several task families read. */
export interface DataSet {
  readonly what: string;
  /** Name on the Hugging Face Hub or publication, and the files needed. */
  readonly source: string;
  /** Patterns of its files in order of preference: as on the Hub, as published by its authors, by the task's name. */
  readonly patterns: readonly string[];
  /** Patterns of files that match but are others, such as another split. */
  readonly not?: readonly string[];
}

export const RECORDS = '{csv,json,jsonl,parquet}{,.gz,.zst}';

/** Returns patterns of record files whose names start with one of the stems. */
export function named(...stems: string[]): string[] {
  return stems.map((stem) => `**/${stem}*.${RECORDS}`);
}

/** Files of a split of training, which is no split to evaluate. */
export const TRAINING_FILES: readonly string[] = [`**/{train,*[-_.]train}{,[-_.]*}.${RECORDS}`];

/** Texts for perplexity and attention. */
export const texts: DataSet = {
  what: 'texts: .txt files, or records with a field text',
  source: 'for WikiText-2: EleutherAI/wikitext_document_level on the Hugging Face hub, test split',
  patterns: ['**/wikitext*test*.{txt,jsonl,parquet}'],
};

/** Texts into which needles are inserted. */
export const haystack: DataSet = {
  what: 'long texts, such as Paul Graham’s essays as .txt files',
  source: 'the repository LLMTest_NeedleInAHaystack by Greg Kamradt: PaulGrahamEssays/*.txt',
  patterns: ['**/PaulGrahamEssays/*.txt'],
};
