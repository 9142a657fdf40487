import { ConfigurationError } from '@meap/recipe-cli';
import { type BadRecordError, readDocuments, readRecords } from '@meap/token-dataset';

/** Reads records. @throws ConfigurationError for one that is damaged, or for none */
export async function readRows(files: readonly string[]): Promise<Readonly<Record<string, unknown>>[]> {
  const rows: Readonly<Record<string, unknown>>[] = [];
  for await (const { record } of readRecords({ files, onBadRecord: refuse })) rows.push(record);
  requireSome(rows, 'records', files);
  return rows;
}

/** Reads text files as a whole, and the field `text` of records. @throws ConfigurationError as {@link readRows} */
export async function readTexts(files: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of readDocuments({ files, onBadRecord: refuse })) texts.push(text);
  requireSome(texts, 'texts', files);
  return texts;
}

/** An evaluation of nothing would look like one that has finished. */
function requireSome(found: readonly unknown[], what: string, files: readonly string[]): void {
  if (found.length > 0) return;
  throw new ConfigurationError([
    `${files.join(', ')}: got no ${what}, expected at least one; choose other files`,
  ]);
}

/** Evaluations do not skip bad rows, since the score would be of another data set. */
function refuse({ file, unit, position, reason }: BadRecordError): never {
  throw new ConfigurationError([
    `${file}, ${unit} ${position}: ${reason}; correct it, or remove it from the file`,
  ]);
}
