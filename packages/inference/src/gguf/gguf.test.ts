import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig, readLlamaConfig } from '@meap/llama-model';
import { openSafetensors, toFloat32 } from '@meap/safetensors';
import { addMaskToken, loadTokenizer, type Tokenizer, trainBpeTokenizer } from '@meap/token-dataset';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ModelError } from '../errors.ts';
import { reorderPairs } from './architecture.ts';
import { Metadata, MetadataBuilder } from './metadata.ts';
import { readGguf } from './read-gguf.ts';
import { readTokenizer } from './read-tokenizer.ts';
import { decodeNumbers, encodeNumbers } from './tensor-types.ts';
import { type WriteGgufOptions, writeGguf } from './write-gguf.ts';
import { writeTokenizer } from './write-tokenizer.ts';

const architectures = fileURLToPath(new URL('../../../llama-model/fixtures/architectures', import.meta.url));
const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const MERGES = [
  ['▁', 'a'],
  ['a', 'b'],
  ['▁a', 'b'],
  ['▁', 'ab'],
];

/** A SentencePiece-like tokenizer of 80 tokens or fewer, as in the tiny models. */
const tokenizerJson = {
  version: '1.0',
  added_tokens: ['<unk>', '<s>', '</s>', '[MASK]'].map((content, id) => ({ id, content, ...added })),
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'BPE',
    unk_token: '<unk>',
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(
      ['<unk>', '<s>', '</s>', '[MASK]', '<0x0A>', '▁', 'a', 'b', 'c', '▁a', 'ab', '▁ab'].map((token, id) => [
        token,
        id,
      ]),
    ),
    merges: MERGES,
  },
};
const tokenizerConfig = {
  bos_token: '<s>',
  eos_token: '</s>',
  unk_token: '<unk>',
  mask_token: '[MASK]',
  chat_template: '{{ messages[0].content }}',
};

const tinyShape = {
  hidden_size: 32,
  intermediate_size: 32,
  num_hidden_layers: 1,
  num_attention_heads: 2,
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-gguf-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of a tiny model with the tokenizer. */
function model(name: string, json: object = tokenizerJson): string {
  const directory = join(folder, `${name}-${crypto.randomUUID()}`);
  cpSync(join(architectures, name), directory, { recursive: true });
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(json));
  writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(tokenizerConfig));
  return directory;
}

async function convert(directory: string, options: Partial<WriteGgufOptions> = {}) {
  const path = join(folder, `${crypto.randomUUID()}/model.gguf`);
  const written = await writeGguf({ base: directory, tokenizer: directory }, { path, ...options });
  return { path, written };
}

async function weightsOf(directory: string) {
  const reader = await openSafetensors(directory);
  const weights = new Map<string, Float32Array>();
  for (const name of reader.tensors.keys()) weights.set(name, toFloat32(await reader.read(name)));
  await reader.close();
  return weights;
}

describe('to GGUF and back', () => {
  test.each(['llama-3.2', 'qwen2', 'qwen3', 'smollm3', 'mistral-nemo', 'olmo2'])(
    '%s is the same',
    async (name) => {
      const source = model(name);
      const { path, written } = await convert(source);
      expect(written.bytes).toBe(statSync(path).size);
      expect(readFileSync(written.modelfile, 'utf8')).toBe(
        'FROM ./model.gguf\nPARAMETER num_ctx 64\nPARAMETER stop "</s>"\n',
      );
      const back = join(folder, `${name}-back`);
      await readGguf(path, { directory: back });
      const { model_type, sliding_window, initializer_range, ...config } = readLlamaConfig(source);
      const { pad_token_id, ...expected } = config;
      // llama.cpp runs a Mistral as a LLaMA.
      const type = model_type === undefined || model_type === 'mistral' ? {} : { model_type };
      expect(readLlamaConfig(back)).toMatchObject({ ...expected, ...type });
      expect(await weightsOf(back)).toEqual(await weightsOf(source));
      const [before, after] = [loadTokenizer(source), loadTokenizer(back)];
      for (const text of ['ab a cab', 'a\nb  c', '[MASK]a'])
        expect(await after.encode(text)).toEqual(await before.encode(text));
      expect(after.maskTokenId).toBe(3);
      expect(after.chatTemplate).toBe(tokenizerConfig.chat_template);
    },
  );

  /** A tokenizer after GGUF's metadata. */
  async function throughMetadata(tokenizer: Tokenizer): Promise<Tokenizer> {
    const metadata = new MetadataBuilder();
    const config = parseConfig({ ...tinyShape, vocab_size: tokenizer.vocabSize + 5, eos_token_id: 1 });
    await writeTokenizer(metadata, tokenizer, config);
    const entries = Object.entries(metadata.build(0)).map(([key, { value }]) => [key, value]);
    const files = readTokenizer(new Metadata('a.gguf', Object.fromEntries(entries)));
    const directory = mkdtempSync(join(folder, 'tokenizer-'));
    writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(files.json));
    writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(files.config));
    return loadTokenizer(directory);
  }

  const texts = [
    'It was 1851, and the whale’s tail — 20 feet! — rose.\n\n  Then it sank.',
    ' the  3 tails\t[MASK]',
  ];

  test('keeps the ids of a tokenizer that was trained here', async () => {
    const trained = addMaskToken(await trainBpeTokenizer({ documents: texts, vocabSize: 275 }));
    const after = await throughMetadata(trained);
    expect(await after.encodeBatch(texts)).toEqual(await trained.encodeBatch(texts));
    expect(after.maskTokenId).toBe(trained.maskTokenId);
  });

  const llama2 = `${process.env.MEAP_DATA}/tokenizers/llama2`;
  test.skipIf(!existsSync(llama2))('keeps the ids of Llama 2, whose merges of spaces are mixed', async () => {
    const before = loadTokenizer(llama2);
    const all = [...texts, `${' '.repeat(40)}x`, 'a  b   c    d'];
    expect(await (await throughMetadata(before)).encodeBatch(all)).toEqual(await before.encodeBatch(all));
  });
});

// As convert_hf_to_gguf.py permutes them; llama.cpp's output depends on it, a round trip does not.
test('queries and keys of a LLaMA have neighbouring rotary pairs in GGUF', () => {
  const config = parseConfig({ ...tinyShape, vocab_size: 4, head_dim: 4 });
  const rows = Float32Array.from({ length: 8 }, (_, i) => i);
  const name = 'model.layers.0.self_attn.q_proj.weight';
  expect([...reorderPairs(rows, name, config, 'gguf')]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  expect(reorderPairs(rows, name.replace('q_proj', 'v_proj'), config, 'gguf')).toBe(rows);
  const qwen3 = parseConfig({ ...config, model_type: 'qwen3' });
  expect(reorderPairs(rows, name, qwen3, 'gguf')).toBe(rows);
});

test.each([
  // Of gguf-py 0.19: gguf.quants.quantize(numpy.sin(numpy.arange(32, dtype='f4')) * 3, …).tobytes().hex()
  ['q8_0', '0c26006b7312a086dd537e34bb81bc357e53db86a113746aff958def617922ac83cd'],
  ['q4_0', '0036680f2f99f2f0861d1f7be4f0a43b0f5d'],
] as const)('%s has the bytes of ggml', (type, hex) => {
  const values = Float32Array.from({ length: 32 }, (_, i) => Math.fround(Math.fround(Math.sin(i)) * 3));
  const bytes = encodeNumbers(values, type);
  expect(Buffer.from(bytes).toString('hex')).toBe(hex);
  const back = decodeNumbers(bytes, type, 32);
  const step = 3 / (type === 'q8_0' ? 127 : 8);
  for (let i = 0; i < 32; i++) expect(Math.abs(back[i] - values[i])).toBeLessThan(step);
});

describe('refuses by name', () => {
  const withJson = (change: object) => ({ ...tokenizerJson, ...change });
  test.each([
    [
      'Unigram',
      { model: { type: 'Unigram', unk_id: 0, vocab: ['<unk>', '<s>', '</s>'].map((token) => [token, 0]) } },
      /GGUF cannot hold this tokenizer, got model.type "Unigram", expected "BPE"/,
    ],
    [
      'a normalizer',
      { normalizer: { type: 'Lowercase' } },
      /GGUF cannot hold this tokenizer, got pre_tokenizer/,
    ],
    [
      'missing merges',
      { model: { ...tokenizerJson.model, merges: MERGES.slice(0, 3) } },
      /all splits of "▁ab"/,
    ],
    [
      'another pre-tokenizer',
      {
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Whitespace' },
            { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
          ],
        },
        normalizer: null,
      },
      /GGUF cannot hold this pre_tokenizer, got .*Whitespace/,
    ],
  ])('a tokenizer with %s', async (_, change, message) => {
    await expect(convert(model('llama-2', withJson(change)))).rejects.toThrow(message);
  });

  test('a model that llama.cpp would run differently', async () => {
    await expect(convert(model('qwen2-windows'))).rejects.toThrow('layer_types');
    const directory = model('smollm3');
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'));
    writeFileSync(
      join(directory, 'config.json'),
      JSON.stringify({ ...config, no_rope_layers: [1, 0, 1, 1] }),
    );
    await expect(convert(directory)).rejects.toThrow(
      'GGUF cannot hold no_rope_layers of this model, got [1,0,1,1]',
    );
  });

  test('damaged files, and leaves nothing', async () => {
    const { path } = await convert(model('llama-2'));
    const whole = readFileSync(path);
    const directory = join(folder, 'damaged');
    const refusal = async (content: Uint8Array) => {
      writeFileSync(path, content);
      const error = await readGguf(path, { directory }).catch((error) => error);
      expect(error).toBeInstanceOf(ModelError);
      expect(readdirSync(folder).filter((name) => name.startsWith('damaged'))).toEqual([]);
      return error.message as string;
    };
    const patched = (name: string, at: number, value: bigint) => {
      const copy = Buffer.from(whole);
      copy.writeBigUInt64LE(value, copy.indexOf(name) + name.length + at);
      return copy;
    };
    const table = 'token_embd.weight';
    expect(await refusal(patched(table, 4, 2n ** 31n))).toMatch(`${table} does not fit into the file`);
    expect(await refusal(patched(table, 4, 2n ** 40n))).toMatch('exceeds the maximum');
    expect(await refusal(patched(table, 24, 2n ** 50n))).toMatch(`${table} does not fit into the file`);
    expect(await refusal(patched(table, 4, 16n))).toMatch(/does not fit the metadata/);
    expect(await refusal(patched('tokenizer.ggml.tokens', 8, 2n ** 60n))).toMatch('Metadata array length');
    expect(await refusal(whole.subarray(0, whole.length - 100))).toMatch('does not fit into the file');
    expect(await refusal(whole.subarray(0, 60))).toMatch(path);
    expect(await refusal(Buffer.from('not a model'))).toMatch('not a readable GGUF file');
    const renamed = Buffer.from(whole);
    renamed.write('llamo', renamed.indexOf('general.architecture') + 'general.architecture'.length + 12);
    expect(await refusal(renamed)).toMatch('general.architecture is not supported, got llamo');
  });
});

const real = `${process.env.MEAP_DATA}/models/stories260K`;
test.skipIf(!existsSync(real))('the tokenizer of a real model is the same', async () => {
  const { path } = await convert(real);
  const back = join(folder, 'stories');
  await readGguf(path, { directory: back });
  const text = 'Once upon a time, there was a little girl named Zoë. "Hi!" she said.\n  2 dogs…';
  expect(await loadTokenizer(back).encode(text)).toEqual(await loadTokenizer(real).encode(text));
});
