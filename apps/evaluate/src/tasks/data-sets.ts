/** How data sets are described, and those that tasks of several families read. */

/** A data set that one or several tasks read. */
export interface DataSet {
  /** What it is, for people. */
  readonly what: string;
  /** Where it comes from: name on the Hugging Face Hub or publication, and the files of it. */
  readonly source: string;
  /** Names of its files, best first: as on the Hub, as its authors offer them, under the task's name. */
  readonly patterns: readonly string[];
}

const RECORDS = '{csv,json,jsonl,parquet}{,.gz,.zst}';

/** Patterns of files of records whose names begin with one of some stems. */
export function named(...stems: string[]): string[] {
  return stems.map((stem) => `**/${stem}*.${RECORDS}`);
}

/** Texts of which the next token is predicted. */
export const texts: DataSet = {
  what: 'texts to predict: .txt files, or records with a field text',
  source: 'for WikiText-2: EleutherAI/wikitext_document_level on the Hugging Face hub, test split',
  patterns: ['**/wikitext*test*.{txt,jsonl,parquet}'],
};

/** Texts in which needles are hidden. */
export const haystack: DataSet = {
  what: 'long texts to hide things in, such as Paul Graham’s essays as .txt files',
  source: 'the repository LLMTest_NeedleInAHaystack by Greg Kamradt: PaulGrahamEssays/*.txt',
  patterns: ['**/PaulGrahamEssays/*.txt'],
};
