import { readFile } from 'node:fs/promises';
import { ConfigurationError } from '@meap/recipe-cli';
import { type BadRecordError, readRecords } from '@meap/token-dataset';
import { glob } from 'tinyglobby';

/** Reads all records of some files. */
export async function readRows(files: readonly string[]): Promise<Readonly<Record<string, unknown>>[]> {
  const rows: Readonly<Record<string, unknown>>[] = [];
  for await (const { record } of readRecords({ files, onBadRecord: refuse })) rows.push(record);
  return rows;
}

/** Reads whole files of text, and the field `text` of files of records. */
export async function readTexts(files: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const pattern of files) {
    const matches = pattern.includes('.txt') ? await glob(pattern, { absolute: true }) : [];
    for (const path of matches.sort()) texts.push(await readFile(path, 'utf8'));
    if (matches.length > 0) continue;
    for await (const { record, file, unit, position } of readRecords({
      files: pattern,
      onBadRecord: refuse,
    })) {
      if (typeof record.text !== 'string') {
        throw new ConfigurationError([
          `${file}, ${unit} ${position}: got ${Object.keys(record).join(', ')}, expected a field text`,
        ]);
      }
      texts.push(record.text);
    }
  }
  return texts;
}

/** An evaluation leaves no row out: its score would be of another data set. */
function refuse({ file, unit, position, reason }: BadRecordError): never {
  throw new ConfigurationError([
    `${file}, ${unit} ${position}: ${reason}; correct it, or remove it from the file`,
  ]);
}
