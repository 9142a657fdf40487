import { spellingPattern } from './literal-encoder.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What {@link surveyDocuments} has seen. */
export interface DocumentSurvey {
  readonly documents: number;
  /** Nothing but white space. */
  readonly empty: number;
  /** The same text was there before. */
  readonly duplicates: number;
  /** Documents whose text spells special tokens, and how often. */
  readonly spellings: { readonly documents: number; readonly occurrences: number };
}

/** What `prepareTokens` would notice of the first documents, found out without it. */
export async function surveyDocuments(
  texts: AsyncIterable<{ readonly text: string }>,
  tokenizer: Pick<Tokenizer, 'json'>,
  most = 1000,
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
    if (documents === most) break;
  }
  return { documents, empty, duplicates, spellings };
}
