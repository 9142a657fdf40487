/** A `tokenizer.model` of SentencePiece as a tokenizer.json, as transformers 5 converts that of Llama. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { TokenizerConfig } from '@meap/token-dataset';
import { ModelError } from '../errors.ts';
import { mergesOf, type TokenizerFiles } from '../gguf/read-tokenizer.ts';

/** The files, with the tokens that are not of the model's merges. */
export interface ConvertedTokenizer extends TokenizerFiles {
  readonly json: { readonly added_tokens: readonly { id: number; content: string }[] };
}

// Field numbers of sentencepiece_model.proto.
const MODEL = { pieces: 1, trainer: 2, normalizer: 3 } as const;
const PIECE = { text: 1, score: 2, type: 3 } as const;
const TRAINER = { modelType: 3, unkId: 40, bosId: 41, eosId: 42, padId: 43 } as const;
const NORMALIZER = { charsmap: 2, addDummyPrefix: 3, removeExtraWhitespaces: 4 } as const;
/** `type` of a piece. */
const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
const MODEL_TYPES = ['', 'unigram', 'BPE', 'word', 'char'];

interface SentencePieceModel {
  readonly pieces: { text: string; score: number; type: number }[];
  modelType: number;
  readonly ids: { unk: number; bos: number; eos: number; pad: number };
  charsmapBytes: number;
  addDummyPrefix: boolean;
  removeExtraWhitespaces: boolean;
}

/**
 * Converts a SentencePiece model, with the special tokens and settings of a tokenizer_config.json beside it.
 *
 * BOS is added unless `add_bos_token` is false, as in transformers 4; `legacy: true` puts a space before every text between
 * special tokens, not only the first, as there.
 *
 * @param added ids of further tokens by their text, from added_tokens.json
 * @throws ModelError for a damaged file or a model that is not BPE with bytes for unknown characters
 */
export function convertSentencePiece(
  bytes: Uint8Array,
  path: string,
  config: TokenizerConfig,
  added: Readonly<Record<string, number>>,
): ConvertedTokenizer {
  const model = parse(bytes, path);
  const refuse = (what: string, got: unknown, expected: string): never => {
    throw new ModelError(
      `${path}: ${what} is not supported, got ${JSON.stringify(got)}, expected ${expected}`,
    );
  };
  if (model.modelType !== 2) {
    refuse(
      'this kind of model',
      MODEL_TYPES[model.modelType] ?? model.modelType,
      'BPE, as of Llama and Mistral',
    );
  }
  if (model.charsmapBytes > 0) refuse('a normalizer with rules', `${model.charsmapBytes} bytes`, 'identity');
  if (model.removeExtraWhitespaces) refuse('remove_extra_whitespaces', true, 'false');
  if (!model.pieces.some(({ type }) => type === TYPE.byte)) refuse('byte_fallback', false, 'true');
  const vocab: Record<string, number> = Object.create(null);
  for (const [id, { text }] of model.pieces.entries()) vocab[text] ??= id;
  const tokens = new Map<number, { content: string; special: boolean }>();
  for (const [id, { text, type }] of model.pieces.entries()) {
    const special = type === TYPE.unknown || type === TYPE.control;
    if (special || type === TYPE.userDefined) tokens.set(id, { content: text, special });
  }
  for (const [content, id] of Object.entries(added)) tokens.set(id, { content, special: false });
  for (const [id, token] of Object.entries(Object(config.added_tokens_decoder))) {
    tokens.set(Number(id), token as { content: string; special: boolean });
  }
  const own = (id: number) => model.pieces[id]?.text;
  const { unk, bos, eos, pad } = model.ids;
  const names = { bos_token: own(bos), eos_token: own(eos), unk_token: own(unk), pad_token: own(pad) };
  const special = Object.fromEntries(Object.entries(names).filter(([, token]) => token !== undefined));
  const complete: Record<string, unknown> = {
    ...special,
    clean_up_tokenization_spaces: false,
    ...config,
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
  // The converted files have them; transformers would convert tokenizer.model again.
  for (const key of ['add_bos_token', 'add_eos_token', 'legacy', 'sp_model_kwargs', 'vocab_file'])
    delete complete[key];
  const replace = (from: string, to: string) => ({ type: 'Replace', pattern: { String: from }, content: to });
  const strip = model.addDummyPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  const scheme = config.legacy === true ? 'always' : 'first';
  const scores = model.pieces.map(({ score }) => score);
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...tokens]
      .sort(([a], [b]) => a - b)
      .map(([id, token]) => ({
        id,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        ...token,
      })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Metaspace',
      replacement: '▁',
      prepend_scheme: model.addDummyPrefix ? scheme : 'never',
      split: false,
    },
    post_processor: postProcessor(tokens, vocab, {
      before: config.add_bos_token === false ? undefined : complete.bos_token,
      after: config.add_eos_token === true ? complete.eos_token : undefined,
    }),
    decoder: {
      type: 'Sequence',
      decoders: [replace('▁', ' '), { type: 'ByteFallback' }, { type: 'Fuse' }, ...strip],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: own(unk) ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesOf(vocab, scores),
    },
  };
  return { json, config: complete };
}

/** The template that adds BOS and EOS; null for neither. */
function postProcessor(
  tokens: ReadonlyMap<number, { content: string }>,
  vocab: Readonly<Record<string, number>>,
  { before, after }: Record<'before' | 'after', unknown>,
): object | null {
  const textOf = (token: unknown) =>
    token && typeof token === 'object' ? (token as { content?: unknown }).content : token;
  const idOf = (text: string) => vocab[text] ?? [...tokens].find(([, { content }]) => content === text)?.[0];
  const known = (token: unknown): string[] => {
    const text = textOf(token);
    return typeof text === 'string' && idOf(text) !== undefined ? [text] : [];
  };
  const [first, last] = [known(before), known(after)];
  if (first.length + last.length === 0) return null;
  const around = (id: string, type_id: number) => [
    ...first.map((text) => ({ SpecialToken: { id: text, type_id } })),
    { Sequence: { id, type_id } },
    ...last.map((text) => ({ SpecialToken: { id: text, type_id } })),
  ];
  const used = [...new Set([...first, ...last])];
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(
      used.map((text) => [text, { id: text, ids: [idOf(text)], tokens: [text] }]),
    ),
  };
}

function parse(bytes: Uint8Array, path: string): SentencePieceModel {
  const model: SentencePieceModel = {
    pieces: [],
    modelType: 1,
    ids: { unk: 0, bos: 1, eos: 2, pad: -1 },
    charsmapBytes: 0,
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
  };
  try {
    eachField(bytes, (field, reader) => {
      if (field === MODEL.pieces) model.pieces.push(parsePiece(reader.bytes()));
      else if (field === MODEL.trainer) parseTrainer(reader.bytes(), model);
      else if (field === MODEL.normalizer) parseNormalizer(reader.bytes(), model);
      else return false;
      return true;
    });
  } catch (cause) {
    throw new ModelError(`${path}: not a SentencePiece model: ${(cause as Error).message}`, { cause });
  }
  if (model.pieces.length === 0) throw new ModelError(`${path}: not a SentencePiece model, got no pieces`);
  return model;
}

/** Calls `visit` for each field of a message, which reads it or returns false. */
function eachField(bytes: Uint8Array, visit: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const start = reader.pos;
    if (wireType === WireType.StartGroup || wireType === WireType.EndGroup) throw new Error('has a group');
    if (visit(field, reader)) continue;
    reader.pos = start;
    reader.skip(wireType);
  }
}

function parsePiece(bytes: Uint8Array) {
  const piece = { text: '', score: 0, type: TYPE.normal as number };
  eachField(bytes, (field, reader) => {
    if (field === PIECE.text) piece.text = reader.string();
    else if (field === PIECE.score) piece.score = reader.float();
    else if (field === PIECE.type) piece.type = reader.int32();
    else return false;
    return true;
  });
  return piece;
}

function parseTrainer(bytes: Uint8Array, model: SentencePieceModel): void {
  eachField(bytes, (field, reader) => {
    if (field === TRAINER.modelType) model.modelType = reader.int32();
    else if (field === TRAINER.unkId) model.ids.unk = reader.int32();
    else if (field === TRAINER.bosId) model.ids.bos = reader.int32();
    else if (field === TRAINER.eosId) model.ids.eos = reader.int32();
    else if (field === TRAINER.padId) model.ids.pad = reader.int32();
    else return false;
    return true;
  });
}

function parseNormalizer(bytes: Uint8Array, model: SentencePieceModel): void {
  eachField(bytes, (field, reader) => {
    if (field === NORMALIZER.charsmap) model.charsmapBytes = reader.bytes().length;
    else if (field === NORMALIZER.addDummyPrefix) model.addDummyPrefix = reader.bool();
    else if (field === NORMALIZER.removeExtraWhitespaces) model.removeExtraWhitespaces = reader.bool();
    else return false;
    return true;
  });
}
