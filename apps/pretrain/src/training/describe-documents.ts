import { counted } from '@meap/recipe-cli';
import type { DocumentCounts } from '@meap/token-dataset';

/** What was noticed of documents, in words; nothing where nothing was. */
export function describeDocuments(
  { empty, duplicates, spellings }: DocumentCounts,
  parsed: boolean,
): string[] {
  const { count, oneIn } = duplicates;
  const about =
    oneIn > 1 ? `about ${counted(count, 'exact duplicate')}, from one text in ${oneIn}` : undefined;
  const what = parsed ? 'parsed' : 'kept as text';
  const spelled = `${counted(spellings.documents, 'document')} with special tokens spelled out, ${what}`;
  return [
    ...(empty > 0 ? [`${counted(empty, 'empty document')} left out`] : []),
    ...(count > 0 ? [about ?? counted(count, 'exact duplicate')] : []),
    ...(spellings.documents > 0 ? [`${spelled} (${counted(spellings.occurrences, 'time')})`] : []),
  ];
}
