/** Helpers of tests; not part of the build. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { openTokenDataset, type TokenDataset } from './dataset.ts';
import { prepareTokens } from './prepare.ts';
import type { PrepareTokensOptions } from './prepare-options.ts';
import { loadTokenizer } from './tokenizer.ts';

export const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
export const fixtureDocuments: string[] = JSON.parse(readFileSync(fixture('documents.json'), 'utf8'));

/** 501 tokens: `<s>` 0, `</s>` 1, `<pad>` 2, bytes, merges, `[MASK]` 500. */
export const tinyTokenizer = loadTokenizer(fixture('trained'));

/** Path of a file of real data, which may be absent. */
export const realData = (name: string) => join(process.env.MEAP_DATA ?? '', name);
export const hasRealData = existsSync(realData('text/c4_train.jsonl'));

/** Worker processes need the built worker. */
export const isBuilt = existsSync(fileURLToPath(new URL('../dist/encode-worker.js', import.meta.url)));

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'token-dataset-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes documents as JSONL and prepares them. */
export async function prepareDocuments(
  documents: readonly string[],
  options: Partial<PrepareTokensOptions> = {},
): Promise<string> {
  const folder = temporaryFolder();
  const file = join(folder, 'documents.jsonl');
  writeFileSync(file, documents.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  const outputDirectory = join(folder, 'out');
  await prepareTokens({ files: file, tokenizer: tinyTokenizer, outputDirectory, workers: 0, ...options });
  return outputDirectory;
}

/** Opens a dataset and closes it after the test. */
export function openForTest(directory: string): TokenDataset {
  const dataset = openTokenDataset(directory);
  onTestFinished(() => dataset.close());
  return dataset;
}
