/** The built command on a trained model and real data: the loss falls, and an interrupted run resumes to the same bytes. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { afterAll, describe, expect, it } from 'vitest';
import { storyInstructions } from './story-instructions.ts';

const cli = join(import.meta.dirname, '../dist/cli.js');
const recipe = join(import.meta.dirname, '../../../recipes/finetune/stories.yaml');
const real = (name: string) => join(process.env.MEAP_DATA ?? '', name);
const folder = mkdtempSync(join(tmpdir(), 'finetune-real-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command; with `stopAt`, interrupts it after that step. */
function run(out: string, file: string, stopAt?: number): Promise<{ code: number | null; stderr: string }> {
  const overrides = {
    'model.path': real('models/stories260K'),
    'data.files': `[${file}]`,
    'data.max_samples': 160,
    'train.max_steps': 12,
    'train.global_batch_size': 8,
    'train.max_length': 256,
    'validation.every': 6,
    'validation.max_samples': 8,
    'checkpoint.every': 5,
    'samples.count': 1,
    'samples.max_new_tokens': 8,
  };
  const set = Object.entries(overrides).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const child = spawn(process.execPath, [cli, '--config', recipe, '--out', out, '--json', ...set]);
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdout.on('data', (chunk) => {
    if (stopAt && String(chunk).includes(`{"type":"step","step":${stopAt},`)) child.kill('SIGINT');
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stderr })));
}

/** Trains without interruption: the losses of all and of masked tokens fall. */
async function trained(name: string, file: string): Promise<string> {
  if (!existsSync(cli)) throw new Error('the command is not built: run `pnpm build` first');
  const out = join(folder, name);
  const { code, stderr } = await run(out, file);
  expect(code, stderr).toBe(0);
  const before = JSON.parse(readFileSync(join(out, 'before.json'), 'utf8'));
  const after = readExactMetrics(out).at(-1)!;
  expect(after.valLoss).toBeLessThan(before.valLoss - 0.1);
  expect(after.parts!.masked).toBeLessThan(before.maskedLoss);
  return out;
}

describe.skipIf(!existsSync(real('models/stories260K')))('stories260K', () => {
  it('trains on Alpaca, and an interrupted run gives the same bytes', async () => {
    const file = real('sft/alpaca_5000.json');
    const whole = await trained('whole', file);
    const stopped = join(folder, 'stopped');
    expect((await run(stopped, file, 7)).code).toBe(130);
    expect(existsSync(join(stopped, 'model'))).toBe(false);
    expect((await run(stopped, file)).code).toBe(0);
    for (const part of ['model', 'checkpoints/step-00000012']) {
      expect(hashFiles(join(stopped, part))).toEqual(hashFiles(join(whole, part)));
    }
    expect(readExactMetrics(stopped)).toEqual(readExactMetrics(whole));
  });

  it('trains on instructions from TinyStories', async () => {
    const stories = readFileSync(real('text/tinystories_2MiB.txt'), 'utf8').slice(0, 200_000);
    const path = join(folder, 'stories.jsonl');
    writeFileSync(
      path,
      [...storyInstructions(stories)].map((record) => `${JSON.stringify(record)}\n`).join(''),
    );
    await trained('stories', path);
  });
});
