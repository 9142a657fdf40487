import { spellingPattern } from './literal-encoder.ts';
import type { SpellingCount } from './manifest.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The result of {@link surveyDocuments}. */
export interface DocumentSurvey {
  readonly documents: number;
  /** Documents of only white space. */
  readonly empty: number;
  /** Documents whose text occurred before. */
  readonly duplicates: number;
  readonly spellings: SpellingCount;
}

/** Counts, in the first documents, those that `prepareTokens` would report as unusual. */
export async function surveyDocuments(
  texts: AsyncIterable<{ readonly text: string }>,
  tokenizer: Pick<Tokenizer, 'json'>,
  maxDocuments = 1000,
): Promise<DocumentSurvey> {
  const pattern = spellingPattern(tokenizer.json);
  const seen = new Set<string>();
  const spellings = { documents: 0, occurrences: 0 };
  let [documents, empty, duplicates] = [0, 0, 0];
  for await (const { text } of texts) {
    documents++;
    if (!/\S/.test(text)) empty++;
    else if (seen.has(text)) duplicates++;
    else seen.add(text);
    const occurrences = text.match(pattern)?.length ?? 0;
    spellings.occurrences += occurrences;
    if (occurrences > 0) spellings.documents++;
    if (documents === maxDocuments) break;
  }
  return { documents, empty, duplicates, spellings };
}
