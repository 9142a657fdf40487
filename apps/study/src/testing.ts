/** Studies and results for tests. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig, type StudyConfig } from './config.ts';
import type { MeasuredValue } from './measures.ts';
import { fixPlan, readStudy, writeResult } from './study-files.ts';

const root = mkdtempSync(join(tmpdir(), 'study-test-'));
let count = 0;

/** A new folder, removed after the tests of the file. */
export function newFolder(): string {
  const folder = join(root, String(count++));
  mkdirSync(folder);
  return folder;
}

/** Call at the top of a test file that uses {@link newFolder}. */
export function removeFolders(): void {
  afterAll(() => rmSync(root, { recursive: true, force: true }));
}

/** A study of two arms with a value and a time. */
export const STUDY = {
  title: 'A study',
  kind: 'confirmatory',
  seeds: [0, 1, 2, 3, 4, 5, 6, 7],
  steps: { pretrain: { recipe: './base.yaml', set: { train: { max_steps: 4 } } } },
  arms: {
    ntp: { set: { pretrain: { 'masking.ratio': 0 } } },
    meap: { set: { pretrain: { masking: { ratio: 0.15 } } } },
  },
  measures: {
    loss: { step: 'pretrain', metric: 'bitsPerByte' },
    induction: { step: 'pretrain', metric: 'probes/induction/gain', at_least: 1, for: 2 },
  },
  comparisons: [
    { measure: 'loss', arms: ['ntp', 'meap'], primary: true },
    { measure: 'induction', arms: ['ntp', 'meap'] },
  ],
} as const;

/** Writes a study and its recipe; returns its path. */
export function writeStudy(study: object, folder = newFolder()): string {
  writeFileSync(join(folder, 'base.yaml'), 'train: {max_steps: 8, sequence_length: 16}\n');
  writeFileSync(join(folder, 'study.yaml'), stringify(study));
  return join(folder, 'study.yaml');
}

/** Fixes the plan of a study in a new folder; returns both. */
export function fixStudy(study: object): { out: string; config: StudyConfig; file: string } {
  const file = writeStudy(study);
  const config = loadConfig(file);
  const out = newFolder();
  fixPlan(out, config, file);
  return { out, config, file };
}

/** Writes a result of a run of {@link STUDY}. */
export function addResult(
  out: string,
  arm: string,
  seed: number,
  measures: Record<string, MeasuredValue>,
): void {
  const { hash } = readStudy(out);
  const final = measures.loss?.value ?? 0;
  const bitsPerByte = { tokens: [16, 32, 64], values: [4, 3, final] };
  const versions = { pretrain: '1.0.0' };
  writeResult(out, { plan: hash, arm, seed, versions, measures, series: { pretrain: { bitsPerByte } } });
}
