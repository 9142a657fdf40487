import { counted } from '@meap/recipe-cli';
import type { DocumentCounts } from '@meap/token-dataset';

/** Describes notable documents: empty ones, duplicates, and spellings of special tokens. */
export function describeDocuments(
  { empty, duplicates, spellings }: DocumentCounts,
  parsed: boolean,
): string[] {
  const { count, oneIn } = duplicates;
  const exact = counted(count, 'exact duplicate');
  const kept = parsed ? 'parsed' : 'kept as text';
  const spelled = `${counted(spellings.documents, 'document')} with special tokens spelled out, ${kept}`;
  return [
    ...(empty > 0 ? [`${counted(empty, 'empty document')} left out`] : []),
    ...(count > 0 ? [oneIn > 1 ? `about ${exact}, estimated from one text in ${oneIn}` : exact] : []),
    ...(spellings.documents > 0 ? [`${spelled} (${counted(spellings.occurrences, 'time')})`] : []),
  ];
}
