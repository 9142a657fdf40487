/** `precision: float16`: a run on real text compared with float32, resumed to the same bytes. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setBackend, setPrecision } from '@meap/tensor-kernels';
import { afterAll, describe, expect, it } from 'vitest';

const missing = await setBackend('webgpu')
  .then(() => setPrecision('float16'))
  .then(
    () => undefined,
    (error: Error) => error.message,
  );
if (missing) console.warn(`not tested in float16: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), 'meap-float16-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const SETTINGS = {
  'model.hidden_size': 64,
  'model.intermediate_size': 176,
  'model.num_hidden_layers': 3,
  'model.num_attention_heads': 4,
  'model.num_key_value_heads': 2,
  'data.npm': '[moby-dick]',
  'tokenizer.vocab_size': 512,
  'train.sequence_length': 128,
  'train.max_steps': 20,
  'checkpoint.every': 10,
  'validation.every': 20,
  'samples.every': 20,
};

async function pretrain(name: string, ...flags: string[]): Promise<{ loss: number; gradNorm: number }[]> {
  const out = join(folder, name);
  const settings = Object.entries(SETTINGS).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const recipe = file('../../../recipes/pretrain/quickstart.yaml');
  const args = [file('../dist/cli.js'), '--config', recipe, ...settings, '--out', out, ...flags];
  await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 26 });
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line)).filter(({ loss }) => loss !== undefined);
}

const checkpointFile = (run: string, step: number, name: string) =>
  readFileSync(join(folder, run, 'checkpoints', `step-000000${step}`, name));

describe.skipIf(missing)('pre-training in float16', () => {
  it('follows float32 and resumes to the same bytes', async () => {
    const float16 = ['--backend', 'webgpu', '--precision', 'float16'];
    const full = await pretrain('float32', '--backend', 'native');
    const run = await pretrain('float16', ...float16);
    expect(run.length).toBe(20);
    const lossErrors = run.map(({ loss }, i) => Math.abs(loss / full[i].loss - 1));
    const normErrors = run.map(({ gradNorm }, i) => Math.abs(gradNorm / full[i].gradNorm - 1));
    expect(Math.max(...lossErrors)).toBeLessThan(1e-3);
    expect(Math.max(...normErrors)).toBeLessThan(2e-2);
    // In float32 the two backends differ by less.
    expect(Math.max(...lossErrors)).toBeGreaterThan(1e-6);
    const state = JSON.parse(checkpointFile('float16', 20, 'trainer/state.json').toString());
    expect(state.lossScale).toEqual({ scale: 1024, steps: 20 });

    await pretrain('resumed', ...float16, '--resume', join(folder, 'float16/checkpoints/step-00000010'));
    for (const name of ['model.safetensors', 'trainer/optimizer.safetensors', 'trainer/state.json']) {
      expect(checkpointFile('resumed', 20, name).equals(checkpointFile('float16', 20, name))).toBe(true);
    }
  });
});
