import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { addLora, loadLlama, saveLlama, saveLora } from '@meap/llama-model';
import { captureOutput } from '@meap/recipe-cli';
import { FakeHub } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { chatCommand } from './chat-command.ts';
import { convertCommand } from './convert-command.ts';
import { hubCommand } from './hub-command.ts';
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

const hub = (...argv: string[]) => captureOutput((io) => hubCommand(argv, io));
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
    // Over weights in 8 bits the adapter stays apart; later tokens of a random model may differ.
    const quantized = await ids(join(folder, 'adapter'), '--quantize', 'int8');
    expect(quantized.slice(0, 3)).toEqual(adapted.slice(0, 3));
    const elsewhere = ['--model', run, '--prompt', 'a', '--quantize', 'int8', '--backend', 'cpu'];
    expect((await sample(...elsewhere)).stderr).toMatch(
      /quantize: got int8 on the backend cpu, expected native.*\n$/,
    );

    const [file, back] = [join(folder, 'adapted.gguf'), join(folder, 'back')];
    const written = await convert('--model', join(folder, 'adapter'), '--to', 'gguf', '--out', file);
    expect(written.stdout).toMatch(/^written {6}\S+adapted\.gguf {3}f32, \d+ tensors, .*, context 128\n/);
    expect((await convert('--model', file, '--from', 'gguf', '--out', back)).code).toBe(0);
    expect(await ids(back)).toEqual(adapted);
    const today = join(folder, 'today');
    const from = await convert('--model', join(run, 'model'), '--from', 'pytorch', '--out', today);
    expect(from).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^written {6}\S+today {3}llama, float32\n/),
    });
    expect(await ids(today)).toEqual(plain);
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

describe('meap-hub push', () => {
  beforeAll(() => {
    const files = '[/home/me/books.txt, hf://datasets/me/texts/*.jsonl]';
    writeFileSync(join(run, 'config.yaml'), `masking:\n  ratio: 0.15\ndata:\n  files: ${files}\n`);
    const step = (step: number) => JSON.stringify({ step, tokens: 100 * step, loss: 5 - step / 10 });
    const lines = [step(1), step(2), '{"step":2,"valLoss":4.5,"bitsPerByte":2}', step(3)];
    writeFileSync(join(run, 'metrics.jsonl'), `${lines.join('\n')}\n`);
    mkdirSync(join(run, 'evaluate'));
    const scores = { alias: 'boolq', 'acc,none': 0.625, 'acc_stderr,none': 0.01 };
    const results = { results: { boolq: scores }, 'n-shot': { boolq: 5 } };
    writeFileSync(join(run, 'evaluate/results.json'), JSON.stringify(results));
  });

  it('uploads the model of a run with a card of its recipe, losses and evaluation', async () => {
    const server = new FakeHub();
    vi.stubEnv('HF_ENDPOINT', await server.start());
    vi.stubEnv('HF_TOKEN', server.writeToken);
    try {
      const dry = await hub('push', run, 'me/whales', '--dry-run');
      expect(dry.stdout).toContain('dry run      nothing was uploaded to me/whales');
      expect(server.requests).toEqual([]);
      const pushed = await hub('push', run, 'me/whales', '--private');
      expect(pushed.stderr).toBe('');
      expect(pushed.stdout).toMatch(/pushed {7}\S+\/me\/whales {3}commit [0-9a-f]{12}\n$/);
      const { files, isPrivate } = server.repositories.get('me/whales')!;
      expect(isPrivate).toBe(true);
      expect(
        Object.keys(files)
          .filter((name) => name !== '.gitattributes')
          .sort(),
      ).toEqual([
        'README.md',
        'config.json',
        'generation_config.json',
        'model.safetensors',
        'special_tokens_map.json',
        'tokenizer.json',
        'tokenizer_config.json',
      ]);
      const card = String(files['README.md']);
      expect(dry.stdout).toContain(card);
      const [, metadata, text] = card.split('---\n');
      expect(parse(metadata)).toEqual({
        library_name: 'transformers',
        pipeline_tag: 'text-generation',
        datasets: ['me/texts'],
        tags: ['meap'],
        'model-index': [
          {
            name: 'whales',
            results: [
              {
                task: { type: 'text-generation', name: 'Text Generation' },
                dataset: { name: 'boolq (5-shot)', type: 'boolq' },
                metrics: [{ type: 'acc', value: 0.625, name: 'acc' }],
              },
            ],
          },
        ],
      });
      expect(text).toContain('| boolq |     5 | acc    | 0.6250 |   0.0100 |');
      expect(text).toContain('3 steps, 300 tokens.');
      expect(text).toMatch(/\| +2 \| 4\.8000 \| +4\.5000 \|\n/);
      // A folder of this machine is nobody else's business.
      expect(text).toContain('- books.txt\n');
      expect(text).not.toContain('/home/me');
    } finally {
      vi.unstubAllEnvs();
      await server.close();
    }
  });

  it.each([
    [
      ['push', 'missing', 'me/whales'],
      'meap-hub: missing: no such folder, expected a run directory or a model',
    ],
    [['push', '', 'whales'], 'whales: not a name on the Hub, expected OWNER/NAME'],
    [['push', '', 'me/whales', '--results', 'none'], 'none: cannot be read as JSON'],
  ])('%j is refused', async (argv, message) => {
    const { stderr, code } = await hub(...argv.map((arg) => arg || run), '--dry-run');
    expect(stderr).toContain(message);
    expect(code).toBe(1);
  });

  it('refuses an adapter whose base model is a folder here', async () => {
    expect((await hub('push', join(folder, 'adapter'), 'me/whales', '--dry-run')).stderr).toMatch(
      /adapter_config\.json: base_model_name_or_path is ".*", which others cannot load, expected OWNER\/NAME/,
    );
  });
});
