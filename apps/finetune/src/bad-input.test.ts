import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setFlags } from '@meap/test-support';
import { addMaskToken, loadTokenizer, Tokenizer } from '@meap/token-dataset';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { saveTinyModel, Workbench } from './testing.ts';

const bench = new Workbench();
beforeAll(() => bench.fill());
afterAll(() => bench.dispose());

let count = 0;
/** Runs with flags and returns the one-line error. */
async function errorOf(...flags: string[]): Promise<string> {
  const { code, stderr } = await bench.finetune(`bad-${count++}`, ...flags);
  expect(code).toBeGreaterThan(0);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  return stderr.trimEnd().replaceAll(bench.directory, 'DIR');
}

const withData = (records: unknown[], ...more: string[]) => {
  const file = bench.write(
    `data-${count}.jsonl`,
    records.map((record) => `${JSON.stringify(record)}\n`).join(''),
  );
  return errorOf(...setFlags(`data.files=[${file}]`, ...more));
};
const good = { instruction: 'Q', output: 'An answer that is long enough.' };

describe('configuration', () => {
  it.each([
    ['train.max_stps=5', 'train.max_stps: unknown key; did you mean max_steps?; allowed here:'],
    ['lora.r=5', 'lora.r: unknown key;'],
    ['masking.ratio=1', 'masking.ratio: got 1, expected a number from 0 and below 1'],
    [
      'masking.layout=stacked',
      'masking.layout: got "stacked", expected one of packed-isolated, separate-rows, concatenated',
    ],
    ['train.micro_batch_size=3', 'train.micro_batch_size: got 3, expected a divisor of global_batch_size 4'],
    ['model.path=null', 'model.path: got nothing, expected the folder of a Hugging Face model'],
    ['data.files=null', 'data.files: got nothing, expected at least one file of conversations'],
    [
      'lora.target_modules=[k]',
      'lora.target_modules: got ["k"], expected all-linear, or a list of some of q_proj',
    ],
    ['lora.target_modules=all', 'lora.target_modules: got "all", expected all-linear, or a list'],
    [
      'lora.modules_to_save=[mlp]',
      'lora.modules_to_save.0: got "mlp", expected some of embed_tokens, lm_head, norm',
    ],
    ['data.format=csv', 'data.format: got "csv", expected one of auto, alpaca'],
  ])('%s', async (override, message) => {
    expect(await errorOf(...setFlags(override))).toContain(`meap-finetune: ${message}`);
  });

  it('a seed of adapters without adapters', async () => {
    expect(await errorOf(...setFlags('init_seed=1'))).toContain(
      'init_seed: got 1, expected none without lora',
    );
  });

  it('Muon with adapters', async () => {
    expect(await errorOf(...setFlags('train.optim=muon', 'lora={}'))).toContain(
      'train.optim: got "muon", expected adamw with lora: ',
    );
  });

  it('masked-only without masks', async () => {
    expect(await errorOf(...setFlags('masking.ratio=0', 'masking.loss=masked-only'))).toContain(
      'masking.loss: got "masked-only", expected union with ratio 0',
    );
  });
});

describe('model', () => {
  it('a folder without a model', async () => {
    expect(await errorOf(...setFlags(`model.path=${bench.directory}`))).toBe(
      'meap-finetune: DIR: no config.json there, expected the folder of a Hugging Face model',
    );
  });

  it('rows beyond the context', async () => {
    expect(await errorOf(...setFlags('train.max_length=129'))).toMatch(
      /^meap-finetune: train\.max_length: got 129, expected at most 128, the context of DIR/,
    );
  });

  it('a missing shard', async () => {
    const broken = bench.path('no-weights');
    cpSync(bench.path('model'), broken, { recursive: true });
    rmSync(`${broken}/model.safetensors`);
    writeFileSync(
      `${broken}/model.safetensors.index.json`,
      JSON.stringify({ weight_map: { 'model.embed_tokens.weight': 'model-00001-of-00002.safetensors' } }),
    );
    expect(await errorOf(...setFlags(`model.path=${broken}`))).toContain('model-00001-of-00002.safetensors');
  });

  it('a tokenizer with more ids than the model has embeddings', async () => {
    const small = bench.path('small');
    await saveTinyModel(small, loadTokenizer(bench.path('model')), { vocab_size: 300 });
    expect(await errorOf(...setFlags(`model.path=${small}`))).toContain(
      'tokenizer and model do not match, got 320 ids and 300 embeddings, expected no more ids than embeddings',
    );
  });

  it('an architecture that is not implemented', async () => {
    const other = bench.path('other');
    cpSync(bench.path('model'), other, { recursive: true });
    const config = JSON.parse(readFileSync(`${other}/config.json`, 'utf8'));
    writeFileSync(`${other}/config.json`, JSON.stringify({ ...config, mlp_bias: true }));
    expect(await errorOf(...setFlags(`model.path=${other}`))).toContain(
      'mlp_bias: refused, got true, expected false',
    );
  });
});

describe('chat template', () => {
  it.each([
    [
      'chatml',
      'chat template chatml: answers end with "<|im_end|>", expected a special token of the tokenizer',
    ],
    [
      'llama-3',
      'answers end with "<|eot_id|>", expected a special token of the tokenizer ([MASK], </s>, <s>)',
    ],
    ['nope', 'data.chat_template nope: no such template or file, expected one of chatml, llama-3'],
  ])('%s', async (template, message) => {
    expect(await errorOf(...setFlags(`data.chat_template=${template}`))).toContain(message);
  });

  it.each([
    ['that is not Jinja', '{% for m in messages %}', 'not a Jinja template'],
    ['that omits the user', '{{ messages[-1].content }}</s>', String.raw`omits message 1 of 2 \(role user\)`],
    [
      'that truncates messages',
      "{% for m in messages %}{{ m.content.split('.')[0] }}</s>{% endfor %}",
      'changes the text of messages',
    ],
    [
      'that raises an exception',
      "{{ raise_exception('only tools here') }}",
      'refuses the roles user, assistant: only tools here',
    ],
  ])('one %s', async (_, source, message) => {
    const file = bench.write('template.jinja', source);
    expect(await errorOf(...setFlags(`data.chat_template=${file}`))).toMatch(new RegExp(message));
  });

  it('none', async () => {
    expect(await errorOf(...setFlags('data.chat_template=null'))).toContain('the model has no chat template');
  });
});

describe('data', () => {
  it.each([
    [
      'unknown fields',
      { text: 'x' },
      'line 2: got the fields text, expected those of alpaca, sharegpt, messages',
    ],
    [
      'a message without a role',
      { messages: [{ content: 'x' }] },
      'messages[0].from: got nothing, expected system, user, assistant or tool',
    ],
    [
      'an unknown role',
      { messages: [{ role: 'narrator', content: 'x' }] },
      'messages[0].role: got "narrator"',
    ],
    [
      'a role that is a name of Object.prototype',
      { messages: [{ role: 'constructor', content: 'x' }] },
      'messages[0].role: got "constructor"',
    ],
    ['no messages', { conversations: [] }, 'conversations: got [], expected a list of messages'],
    [
      'tools',
      { messages: [{ role: 'assistant', content: '', tool_calls: [{ id: 1 }] }] },
      'messages[0].tool_calls[0]: got {"id":1}, expected a call with the name and arguments of a function',
    ],
    [
      'tool results',
      { messages: [{ role: 'tool', content: '21 °C' }] },
      'line 2: chat template alpaca: refuses the roles tool: message 1 has the role tool',
    ],
    [
      'tools of ShareGPT',
      { conversations: [{ from: 'human', value: 'Q' }], tools: '[{"name": "weather"}]' },
      'line 2: chat template alpaca: omits tool 1 of 1',
    ],
    [
      'calls of ShareGPT',
      { conversations: [{ from: 'function_call', value: '{"name": "weather"}' }] },
      'line 2: chat template alpaca: omits tool_calls of message 1 of 1 (role assistant)',
    ],
    [
      'images',
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      'expected parts of type text',
    ],
    [
      'preferences',
      { prompt: 'Q', chosen: 'A', rejected: 'B', completion: 'A' },
      'line 2: chosen: got "A", expected none, since preferences are not supported',
    ],
    [
      'a second system message',
      {
        messages: [
          { role: 'system', content: 'S1' },
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: 'A' },
          { role: 'system', content: 'S2' },
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: 'A' },
        ],
      },
      'line 2: chat template alpaca: refuses the roles system, user, assistant, system, user, assistant: message 4 has',
    ],
    [
      'a marked question',
      {
        messages: [
          { role: 'user', content: 'Q', train: true },
          { role: 'assistant', content: 'A' },
        ],
      },
      'line 2: message 1 of 2: got role user marked to be learned, expected one of masking.loss_roles (assistant)',
    ],
    [
      'preferences without an answer',
      { prompt: 'Q', chosen: 'A', rejected: 'B' },
      'line 2: chosen: got "A", expected none',
    ],
    ['text without an answer', { text: 'x' }, 'train on plain text with meap-pretrain'],
    ['a number for text', { instruction: 'Q', output: 3 }, 'output: got 3, expected text'],
    ['a list', [1], 'not an object'],
  ])('%s', async (_, record, message) => {
    const error = await withData([good, record]);
    expect(error).toContain(message);
    expect(error).toContain('fix it, or set data.on_bad_record to skip');
  });

  it('a template that refuses one conversation', async () => {
    const template = bench.write(
      'strict.jinja',
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate!') }}{% endif %}{{ m.content }}</s>{% endfor %}",
    );
    const bad = { messages: [{ role: 'assistant', content: 'Hi' }] };
    expect(await withData([good, bad], `data.chat_template=${template}`)).toMatch(
      /line 2: chat template .*refuses the roles assistant: alternate!/,
    );
  });

  it('only empty answers', async () => {
    expect(
      await withData([
        { ...good, output: '' },
        { ...good, output: ' ' },
      ]),
    ).toContain(
      'got 0 usable conversations, expected two: one for training, one for validation; dropped 2 without an answer',
    );
  });

  it('prompts longer than the window', async () => {
    const long = { instruction: 'whale '.repeat(300), output: 'Yes.' };
    expect(await withData([long, long])).toContain('2 with a prompt that fills train.max_length');
  });

  it('a field name that no record has, and one that only some have', async () => {
    const records = [
      { q: 'Q', a: good.output },
      { q: 'Q', a: good.output, about: 'x' },
    ];
    const fields = (names: string) => `data.fields={instruction: q, output: a, ${names}}`;
    expect(await withData(records, fields('input: abuot'))).toContain(
      'data.fields: no record has a field abuot, expected',
    );
    expect(await withData(records, fields('inptu: about'))).toContain(
      'data.fields.inptu: got "about", expected a standard name as key: messages',
    );
    expect(await withData([{ q: 'Q' }], fields('input: about'))).toContain(
      'it lacks a (data.fields.output), about',
    );
    const file = bench.write('some.jsonl', records.map((record) => JSON.stringify(record)).join('\n'));
    const { code, stdout } = await bench.finetune(
      'some',
      ...setFlags(
        `data.files=[${file}]`,
        fields('input: about'),
        'train.max_steps=1',
        'masking.turns=last-answer',
      ),
    );
    expect(code).toBe(0);
    expect(stdout).toContain('data         2 alpaca');
  });

  it('on_bad_record: skip counts and skips records', async () => {
    const file = bench.write(
      'mixed.jsonl',
      [good, { text: 1 }, good, good].map((r) => JSON.stringify(r)).join('\n'),
    );
    const { code, stdout } = await bench.finetune(
      'skipping',
      ...setFlags(`data.files=[${file}]`, 'data.on_bad_record=skip', 'train.max_steps=1'),
    );
    expect(code).toBe(0);
    expect(stdout).toContain('left out     1 that could not be used');
    expect(stdout).toMatch(/warning {6}data: 1 bad record skipped, the first: .*line 2: got the fields text/);
  });

  it('a mask token that is not special and occurs in the data', async () => {
    const model = bench.path('mask-in-text');
    const tokenizer = loadTokenizer(bench.path('model'));
    const contents = JSON.parse(addMaskToken(tokenizer, '[MASK]').json);
    contents.added_tokens.at(-1).special = false;
    const visible = new Tokenizer(JSON.stringify(contents), tokenizer.config, 'test');
    await saveTinyModel(model, visible);
    expect(
      await withData([good, { ...good, output: 'Write [MASK] here.' }, good], `model.path=${model}`),
    ).toContain('320');
  });

  it('special tokens in the data are plain text', async () => {
    const file = bench.write(
      'spelled.json',
      JSON.stringify([good, { ...good, output: 'Write [MASK] and </s> here.' }, good]),
    );
    expect(
      (await bench.finetune('spelled', ...setFlags(`data.files=[${file}]`, 'train.max_steps=1'))).code,
    ).toBe(0);
  });

  it('missing files', async () => {
    expect(await errorOf(...setFlags('data.files=[nowhere.json]'))).toContain('no such file');
    expect(await errorOf(...setFlags(`data.files=[${bench.write('a.docx', 'PK\x03\x04\0')}]`))).toContain(
      'a.docx: is a zip archive; unpack it first',
    );
    expect(await errorOf(...setFlags(`data.files=[${bench.write('a.md', 'Prose.')}]`))).toContain(
      'got plain text, expected records',
    );
  });
});
