/**
 * From a name to a model and back, on a Hub on loopback: a random Qwen3 is fine-tuned by its name, evaluated on data of the
 * Hub, pushed, pulled by its new name, and written as GGUF. Every program must continue a prompt with the same tokens.
 *
 *     pnpm round-trip [--python PYTHON]
 *
 * With a Python that has transformers and llama-cpp-python, these pull the pushed model and read the GGUF file.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';

const root = resolve(import.meta.dirname, '..');
/** A package of the workspace, as it was built. */
const load = (path) => import(join(root, path, 'dist/index.js'));
const { python } = parseArgs({ options: { python: { type: 'string' } } }).values;

const [BASE, TUNED] = ['me/tiny-qwen3', 'me/tiny-qwen3-colours'];
const PROMPT = '### Instruction:\nWhat is the colour of snow?\n\n### Response:\n';
const NEW_TOKENS = 24;

const TRANSFORMERS = `
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
name, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
ids = tokenizer(prompt, return_tensors="pt").input_ids
out = model.generate(ids, max_new_tokens=count, do_sample=False)[0].tolist()
print(json.dumps({"prompt_ids": ids[0].tolist(), "new_ids": out[ids.shape[1]:]}))
`;

const work = mkdtempSync(join(tmpdir(), 'meap-round-trip-'));
const path = (...parts) => join(work, ...parts);
const { FakeHub } = await load('packages/test-support');
const hub = new FakeHub();
let failed = false;
try {
  const env = { ...process.env, HF_ENDPOINT: await hub.start(), HF_TOKEN: '', HF_HUB_OFFLINE: '' };
  await publish();
  const start = promisify(execFile);
  const run = async (cache, command, args, { input = '', ...more } = {}) => {
    const options = { env: { ...env, HF_HUB_CACHE: path(cache), ...more }, cwd: work, maxBuffer: 2 ** 26 };
    const started = start(command, args, options);
    started.child.stdin.end(input);
    return (await started).stdout;
  };
  const meap = (program, args, { cache = 'cache', ...more } = {}) =>
    run(cache, process.execPath, [join(root, program), ...args], more);
  const sets = (...values) => values.flatMap((value) => ['--set', value]);

  const data = 'data={"files":["hf://datasets/me/colours/train.jsonl"],"chat_template":"alpaca"}';
  const train = 'train={"max_steps":100,"global_batch_size":8,"max_length":160,"learning_rate":0.003}';
  const tune = ['--config', 'stories', ...sets(`model.path=${BASE}`, data, train), '--out', path('run')];
  await meap('apps/finetune/dist/cli.js', tune);
  report('fine-tuned', `${BASE} on hf://datasets/me/colours`);

  const tasks = ['--tasks', 'niah', '--data', 'hub', ...sets('niah.lengths=[300]', 'niah.depths=[50]')];
  const evaluate = ['run', '--model', path('run'), ...tasks, '--out', path('run/evaluate'), '--json'];
  await meap('apps/evaluate/dist/cli.js', [...evaluate, '--cache', path('answers')]);
  const { data: read } = JSON.parse(readFileSync(path('run/evaluate/environment.json'), 'utf8'));
  report('evaluated', `niah on ${read.haystack[0]}`);

  await meap('apps/serve/dist/hub.js', ['push', path('run'), TUNED], { HF_TOKEN: hub.writeToken });
  const { files } = hub.repositories.get(TUNED);
  if (!String(files['README.md']).includes('niah')) throw new Error('the model card has no evaluation');
  report('pushed', `${TUNED}: ${Object.keys(files).sort().join(', ')}`);

  const gguf = path('model.gguf');
  await meap('apps/serve/dist/convert.js', ['--model', path('run'), '--to', 'gguf', '--out', gguf]);
  await meap('apps/serve/dist/convert.js', ['--model', gguf, '--from', 'gguf', '--out', path('back')]);
  report('converted', 'to GGUF and back');

  const given = ['--prompt', PROMPT, '--max-new-tokens', String(NEW_TOKENS), '--json'];
  const sample = async (model, more) => meap('apps/serve/dist/sample.js', ['--model', model, ...given], more);
  const expected = await sample(path('run'));
  const { prompt_ids, new_ids, text } = JSON.parse(expected);
  if (new_ids.length < 8) throw new Error(`${new_ids.length} new tokens compare too little`);
  report('generated', `${new_ids.length} tokens: ${JSON.stringify(text)}`);
  const compare = (name, found) => {
    const [want, got] = [
      { prompt_ids, new_ids },
      { prompt_ids: found.prompt_ids, new_ids: found.new_ids },
    ];
    const isEqual = JSON.stringify(want) === JSON.stringify(got);
    report(
      name,
      isEqual ? 'equal' : `DIFFERENT: got ${JSON.stringify(got)}, expected ${JSON.stringify(want)}`,
    );
    failed ||= !isEqual;
  };
  compare('by name', JSON.parse(await sample(TUNED, { cache: 'other-cache' })));
  compare('from GGUF', JSON.parse(await sample(path('back'))));

  const why = async (module) => {
    if (python === undefined) return 'no --python';
    const has = await run('python', python, ['-c', `import ${module}`]).then(
      () => true,
      () => false,
    );
    return has ? undefined : `${python} has no ${module}`;
  };
  const missing = { transformers: await why('transformers'), 'llama.cpp': await why('llama_cpp') };
  for (const [name, reason] of Object.entries(missing)) if (reason) report(name, `skipped: ${reason}`);
  if (!missing.transformers) {
    const found = await run('python', python, ['-c', TRANSFORMERS, TUNED, PROMPT, String(NEW_TOKENS)]);
    compare('transformers', JSON.parse(found));
  }
  if (!missing['llama.cpp']) {
    // It exits with 1 where the tokens differ.
    const check = join(root, 'packages/inference/fixtures/check_llama_cpp.py');
    await run('python', python, [check, gguf], { input: expected });
    report('llama.cpp', 'equal');
  }
} catch (error) {
  failed = true;
  console.error(error.stdout ?? '', error.stderr ?? '', error.message);
} finally {
  await hub.close();
  rmSync(work, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

function report(name, text) {
  console.log(`${name.padEnd(13)}${text}`);
}

/** Puts a random Qwen3, questions, and a text to search on the Hub. */
async function publish() {
  const { trainBpeTokenizer } = await load('packages/token-dataset');
  const { createLlama, parseConfig, saveLlama } = await load('packages/llama-model');
  const { setBackend } = await load('packages/tensor-kernels');
  const colours = ['green', 'red', 'blue', 'yellow', 'white', 'black', 'brown', 'grey'];
  const things = ['grass', 'blood', 'sky', 'sun', 'snow', 'coal', 'earth', 'ash'];
  const rows = things.map((thing, i) => ({
    instruction: `What is the colour of ${thing}?`,
    output: `The colour of ${thing} is ${colours[i]}, as everyone knows who has seen ${thing} once in a lifetime.`,
  }));
  const prose = 'It was a long voyage, and nobody on board knew the colour of the sea. '.repeat(60);
  const documents = [...rows.flatMap((row) => Object.values(row)), prose, PROMPT];
  const special = { bosToken: '<|im_start|>', eosToken: '<|im_end|>' };
  const tokenizer = await trainBpeTokenizer({ vocabSize: 384, ...special, documents: texts(documents) });
  await setBackend('auto');
  const config = parseConfig({
    model_type: 'qwen3',
    architectures: ['Qwen3ForCausalLM'],
    vocab_size: tokenizer.vocabSize,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    max_position_embeddings: 512,
    rope_theta: 1e6,
    initializer_range: 0.1,
    tie_word_embeddings: true,
    bos_token_id: tokenizer.bosTokenId,
    eos_token_id: tokenizer.eosTokenId,
  });
  const folder = path('base');
  mkdirSync(folder);
  const model = createLlama(config, { seed: 7 });
  await saveLlama(folder, model, { dtype: 'float32' });
  model.dispose();
  tokenizer.save(folder);
  const names = readdirSync(folder);
  const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))]));
  hub.repositories.set(BASE, { files });
  const lines = (records) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
  const many = Array.from({ length: 6 }, () => rows).flat();
  hub.repositories.set('datasets/me/colours', { files: { 'train.jsonl': lines(many) } });
  const essays = lines([{ text: prose }]);
  hub.repositories.set('datasets/opencompass/NeedleBench', { files: { 'PaulGrahamEssays.jsonl': essays } });
}

async function* texts(list) {
  yield* list;
}
