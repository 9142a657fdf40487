/** Studies and results for tests. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig, type StudyConfig } from './config.ts';
import type { MeasuredValue, RunResult } from './measures.ts';
import { hashPlan, type RunId } from './plan.ts';
import { fixPlan, writeResult } from './study-files.ts';

const folders: string[] = [];

/** A new folder, removed after the tests of the file. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'study-test-'));
  folders.push(folder);
  return folder;
}

/** Call at the top of a test file that uses {@link newFolder}. */
export function removeFolders(): void {
  afterAll(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
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

/** A result of a run of {@link STUDY}. */
export function resultOf(
  plan: string,
  { arm, seed }: RunId,
  measures: Record<string, MeasuredValue>,
): RunResult {
  const bitsPerByte = { tokens: [16, 32, 64], values: [4, 3, measures.loss?.value ?? 0] };
  const versions = { pretrain: '1.0.0' };
  return { plan, arm, seed, versions, measures, series: { pretrain: { bitsPerByte } } };
}

/** Writes a result of a run of {@link STUDY}. */
export function addResult(
  out: string,
  arm: string,
  seed: number,
  measures: Record<string, MeasuredValue>,
): void {
  const plan = hashPlan(readFileSync(join(out, 'plan.yaml'), 'utf8'));
  writeResult(out, resultOf(plan, { arm, seed }, measures));
}
