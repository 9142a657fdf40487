/** Folders of PyTorch and SentencePiece equal what transformers reads there; hostile files get an error and run nothing. */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadLlama } from '@meap/llama-model';
import { readSafetensors } from '@meap/safetensors';
import { setBackend } from '@meap/tensor-kernels';
import { TemporaryFolder } from '@meap/test-support';
import { loadTokenizer } from '@meap/token-dataset';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ModelError } from '../errors.ts';
import { findModel } from '../find-model.ts';
import { convertPytorch } from './convert-pytorch.ts';
import { convertSentencePiece } from './sentencepiece.ts';
import { openTorchFile } from './torch-file.ts';
import { unpickleStateDict } from './unpickle.ts';

/** Made by fixtures/make_pytorch.py. */
const source = fileURLToPath(new URL('../../fixtures/pytorch', import.meta.url));
const expected: {
  weights: Record<string, string>;
  ids: [string, number[]][];
  merges: [string, string][];
} = JSON.parse(readFileSync(join(source, 'expected.json'), 'utf8'));
const file = readFileSync(join(source, 'pytorch_model.bin'));
const sentencePiece = readFileSync(join(source, 'tokenizer.model'));

const work = new TemporaryFolder();
const converted = work.path('converted');
beforeAll(async () => {
  await setBackend('native');
  await convertPytorch(source, { directory: converted });
});
afterAll(() => work.dispose());

it('has the weights that PyTorch saved, and loads', async () => {
  const { tensors } = await readSafetensors(join(converted, 'model.safetensors'));
  const hashes = [...tensors].map(([name, { data }]) => [
    name,
    createHash('sha256').update(data).digest('hex'),
  ]);
  expect(Object.fromEntries(hashes)).toEqual(expected.weights);
  expect(tensors.get('model.embed_tokens.weight')!.dtype).toBe('BF16');
  const model = await loadLlama(converted);
  expect(model.config).toMatchObject({ torch_dtype: 'bfloat16', tie_word_embeddings: true });
  model.dispose();
});

it('has the tokenizer that transformers converts, and its ids', async () => {
  const tokenizer = loadTokenizer(converted);
  const { model } = JSON.parse(tokenizer.json);
  expect(model.merges).toEqual(expected.merges);
  const ids = await tokenizer.encodeBatch(expected.ids.map(([text]) => text));
  expect(ids.map((of, i) => [expected.ids[i][0], [...of]])).toEqual(expected.ids);
  expect([tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([1, 2]);
});

it('reads shards, and another format with dtype', async () => {
  const folder = work.path('shards');
  mkdirSync(folder);
  for (const name of ['config.json', 'tokenizer.model', 'tokenizer_config.json']) {
    copyFileSync(join(source, name), join(folder, name));
  }
  await expect(convertPytorch(folder, { directory: work.path('none') })).rejects.toThrow(
    /model\.safetensors/,
  );
  writeFileSync(join(folder, 'pytorch_model-1.bin'), file);
  const index = join(folder, 'pytorch_model.bin.index.json');
  writeFileSync(index, JSON.stringify({ weight_map: { 'model.norm.weight': '../a.bin' } }));
  await expect(convertPytorch(folder, { directory: work.path('none') })).rejects.toThrow(
    'expected names of .bin files',
  );
  writeFileSync(index, JSON.stringify({ weight_map: { 'model.norm.weight': 'pytorch_model-1.bin' } }));
  await expect(findModel(folder)).rejects.toThrow('meap-convert --from pytorch');
  const added = join(folder, 'added_tokens.json');
  writeFileSync(added, '{"<pad>": 439}');
  await expect(convertPytorch(folder, { directory: work.path('none') })).rejects.toThrow(
    'the added token "<pad>" has the id 439, expected 440',
  );
  writeFileSync(added, '{"[X]": 440}');
  await expect(
    convertPytorch(folder, { directory: work.path('float32'), dtype: 'float32' }),
  ).resolves.toMatchObject({
    torch_dtype: 'float32',
  });
  const { tensors } = await readSafetensors(join(work.path('float32'), 'model.safetensors'));
  expect(tensors.get('model.norm.weight')!.dtype).toBe('F32');
  expect(loadTokenizer(work.path('float32')).tokenToId('[X]')).toBe(440);
});

/** A pickle of protocol 2. */
const pickle = (...parts: (string | number[])[]) =>
  Buffer.concat([[0x80, 2], ...parts, '.'].map((part) => Buffer.from(part as string, 'latin1')));

it('runs nothing, and says what a pickle would have run', () => {
  const refusals: [Buffer, RegExp][] = [
    [
      pickle('cposix\nsystem\n', 'X', [2, 0, 0, 0], 'ls', [0x85], 'R'),
      /calls "posix\.system", which is never run/,
    ],
    [pickle('cbuiltins\neval\n', ')', 'R'), /calls "builtins\.eval"/],
    [pickle([0x8c, 2], 'os', [0x8c, 6], 'system', [0x93], ')', 'R'), /calls "os\.system"/],
    [pickle('ctorch._utils\n_rebuild_tensor_v2\n', ')', 'R'), /has a tensor of unknown form/],
    [pickle('ctorch\nFloatStorage\n', ')', 'R'), /calls torch\.FloatStorage/],
    [pickle('ccollections\nOrderedDict\n', ')', [0x81]), /has the opcode 0x81/],
    [pickle('K', [1]), /got something else, expected a state_dict/],
    [pickle('}', 'X', [1, 0, 0, 0], 'a', 'K', [1], 's'), /got "a" that is not a tensor/],
    [pickle('X', [255, 255, 255, 255]), /ends too early/],
    [pickle('h', [7]), /reads the memo at 7/],
  ];
  for (const [bytes, message] of refusals) {
    expect(() => unpickleStateDict(bytes, 'a.bin')).toThrow(message);
    expect(() => unpickleStateDict(bytes, 'a.bin')).toThrow(ModelError);
  }
});

/** Calls `read` with damaged copies of a file: it returns, or throws an error for users. */
async function survives(bytes: Uint8Array, read: (damaged: Uint8Array) => unknown, numRuns: number) {
  const change = fc.record({
    at: fc.nat(bytes.length - 1),
    value: fc.nat(255),
    length: fc.integer({ min: 1, max: 9 }),
    cut: fc.option(fc.nat(bytes.length), { freq: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const damaged = Uint8Array.from(bytes);
      for (const { at, value, length } of changes) damaged.fill(value, at, at + length);
      const end = changes[0].cut ?? damaged.length;
      try {
        await read(damaged.subarray(0, end));
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
      }
    }),
    { numRuns },
  );
}

it('survives damaged files', async () => {
  const start = file.indexOf('.pkl') + 1;
  const dict = file.subarray(file.indexOf(0x80, start), file.indexOf('PK', start));
  await survives(dict, (damaged) => unpickleStateDict(damaged, 'a'), 500);
  await survives(sentencePiece, (damaged) => convertSentencePiece(damaged, 'a', {}, {}), 50);
  const path = work.path('damaged.bin');
  const readAll = async (damaged: Uint8Array) => {
    writeFileSync(path, damaged);
    const torch = await openTorchFile(path);
    try {
      for (const name of torch.tensors.keys()) await torch.read(name);
    } finally {
      await torch.close();
    }
  };
  await survives(file, readAll, 50);
  // The offset within the locator of the archive's end.
  const lying = Uint8Array.from(file);
  lying.fill(7, lying.length - 34, lying.length - 26);
  expect(Buffer.from(file).subarray(-42, -38)).toEqual(Buffer.from('PK\x06\x07'));
  await expect(readAll(lying)).rejects.toThrow(
    /not a ZIP archive of torch.save: it points to 56 bytes at 5063/,
  );
  await expect(readAll(Uint8Array.of(0x80, 2, 1, 2))).rejects.toThrow('a file from before PyTorch 1.6');
});

it('refuses models of SentencePiece that are not BPE with bytes', () => {
  const unigram = Uint8Array.from(sentencePiece);
  const model = (bytes: Uint8Array) => () => convertSentencePiece(bytes, 'a.model', {}, {});
  expect(model(Uint8Array.of())).toThrow('a.model: not a SentencePiece model, got no pieces');
  // model_type, field 3 of the trainer's settings, from BPE to unigram.
  const at = Buffer.from(unigram).indexOf(Buffer.from([0x18, 2, 0x20]));
  unigram[at + 1] = 1;
  expect(model(unigram)).toThrow('this kind of model is not supported, got "unigram", expected BPE');
});
