import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { addLora, loadLlama, saveLlama, saveLora } from '@meap/llama-model';
import { captureOutput } from '@meap/recipe-cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chatCommand } from './chat-command.ts';
import { convertCommand } from './convert-command.ts';
import { sampleCommand } from './sample-command.ts';
import { tinyModel, tinyTokenizer } from './server/testing.ts';

let folder: string;
let run: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'serve-commands-'));
  run = join(folder, 'run');
  const model = join(run, 'model');
  mkdirSync(model, { recursive: true });
  await saveLlama(model, tinyModel, { dtype: 'float32' });
  tinyTokenizer.save(model);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Creates a PEFT adapter that changes the output of the model. */
async function adapterFolder(): Promise<string> {
  const directory = join(folder, 'adapter');
  mkdirSync(directory);
  const model = await loadLlama(join(run, 'model'));
  const { parameters } = addLora(model, { rank: 4, seed: 1 });
  for (const [name, value] of parameters) if (name.includes('lora_B')) value.assign(value.add(0.5) as never);
  await saveLora(directory, model, { baseModel: join(run, 'model') });
  model.dispose();
  return directory;
}

const convert = (...argv: string[]) => captureOutput((io) => convertCommand(argv, io));
const sample = (...argv: string[]) => captureOutput((io) => sampleCommand(argv, io));

function chat(lines: readonly string[], ...argv: string[]) {
  return captureOutput((io) => {
    const stdin = new PassThrough() as unknown as NodeJS.ReadStream & PassThrough;
    stdin.end(lines.map((line) => `${line}\n`).join(''));
    return chatCommand(argv, { ...io, stdin });
  });
}

describe('meap-sample', () => {
  const ids = async (model: string, ...more: string[]) => {
    const args = ['--model', model, '--prompt', 'The captain', '--max-new-tokens', '8', '--json', ...more];
    const { code, stdout, stderr } = await sample(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout).new_ids as number[];
  };

  it('accepts a run directory, a Hugging Face folder and an adapter, also after meap-convert', async () => {
    const plain = await ids(run);
    expect(await ids(join(run, 'model'))).toEqual(plain);
    const adapted = await ids(await adapterFolder());
    expect(adapted).toHaveLength(8);
    expect(adapted).not.toEqual(plain);

    const [file, back] = [join(folder, 'adapted.gguf'), join(folder, 'back')];
    const written = await convert('--model', join(folder, 'adapter'), '--to', 'gguf', '--out', file);
    expect(written.stdout).toMatch(/^written {6}\S+adapted\.gguf {3}f32, \d+ tensors, .*, context 128\n/);
    expect((await convert('--model', file, '--from', 'gguf', '--out', back)).code).toBe(0);
    expect(await ids(back)).toEqual(adapted);
    const again = await convert('--model', file, '--from', 'gguf', '--out', back);
    expect(again.stderr).toContain('back: not empty, expected a missing or an empty folder');
    expect((await convert('--model', file, '--out', back)).code).toBe(2);
  });

  it('is reproducible for a seed', async () => {
    const [greedy, one, same, two] = [
      await ids(run),
      await ids(run, '--temperature', '2', '--seed', '1'),
      await ids(run, '--temperature', '2', '--seed', '1'),
      await ids(run, '--temperature', '2', '--top-k', '50', '--top-p', '0.9', '--seed', '2'),
    ];
    expect(one).toEqual(same);
    expect(one).not.toEqual(greedy);
    expect(two).not.toEqual(one);
  });

  it('is greedy with --top-p 0, as the server, and refuses numbers out of range by their flag', async () => {
    const greedy = await ids(run);
    expect(await ids(run, '--temperature', '1', '--top-p', '0', '--seed', '9007199254740991')).toEqual(
      greedy,
    );
    const { code, stderr } = await sample('--model', run, '--prompt', 'a', '--max-new-tokens', '-1');
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /--max-new-tokens <n>' argument '-1' is invalid\. expected an integer of at least 0/,
    );
  });

  it('reports a truncated model, NaN weights and a missing model in one line', async () => {
    const broken = join(folder, 'broken');
    mkdirSync(broken);
    await saveLlama(broken, tinyModel, { dtype: 'float32' });
    tinyTokenizer.save(broken);
    const weights = join(broken, 'model.safetensors');
    const whole = readFileSync(weights);
    truncateSync(weights, 5000);
    const fails = async (model: string, message: RegExp) => {
      const { code, stderr } = await sample('--model', model, '--prompt', 'The');
      expect(code).toBe(1);
      expect(stderr).toMatch(message);
    };
    await fails(broken, /^meap-sample: [^\n]*model\.safetensors[^\n]+\n$/);
    const data = Buffer.from(whole);
    data.writeFloatLE(Number.NaN, data.length - 4);
    writeFileSync(weights, data);
    await fails(broken, /^meap-sample: [^\n]+ not finite, got NaN at element \d+[^\n]*\n$/);
    await fails(join(folder, 'nowhere'), /^meap-sample: model [^\n]+ no such folder[^\n]+\n$/);
  });
});

describe('meap-chat', () => {
  const model = () => ['--model', run, '--chat-template', 'alpaca'];

  it('answers, keeps the conversation, starts a new one and exits', async () => {
    const lines = ['Say what the captain sees.', '', 'And?', '/new', 'Hi', '/exit', 'never read'];
    const { code, stdout, stderr } = await chat(
      lines,
      ...model(),
      ...['--temperature', '0', '--max-new-tokens', '5'],
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').length).toBeGreaterThanOrEqual(3);
  });

  it('continues after the last seed', async () => {
    const seed = ['--seed', '9007199254740991', '--max-new-tokens', '2'];
    const { code, stderr } = await chat(['Hi', 'And?', 'Then?'], ...model(), ...seed);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('reports a conversation that fills the context, and continues', async () => {
    const { code, stderr } = await chat(['whale '.repeat(200), '/exit'], ...model());
    expect(code).toBe(0);
    expect(stderr).toMatch(/^the conversation of \d+ tokens fills the context of 128; start a new one\n$/);
  });

  it('requires a chat template', async () => {
    const { code, stderr } = await chat([], '--model', run);
    expect(code).toBe(1);
    expect(stderr).toMatch(/the model has no chat template, expected .*\n$/);
  });
});
