/** A tokenizer.json from GGUF's metadata, the inverse of write-tokenizer.ts. */
import type { TokenizerConfig } from '@meap/token-dataset';
import type { Metadata } from './metadata.ts';
import { type Json, PRE_TOKENIZER_NAMES, preTokenizerOf } from './pre-tokenizers.ts';
import { SPECIAL_TOKENS, TOKEN_TYPE } from './write-tokenizer.ts';

/** Contents of the files of a tokenizer. */
export interface TokenizerFiles {
  readonly json: object;
  readonly config: TokenizerConfig;
}

/** Reads the tokenizer of a file. @throws ModelError for one that is not supported */
export function readTokenizer(metadata: Metadata): TokenizerFiles {
  const tokens = metadata.texts('tokenizer.ggml.tokens');
  const typesKey = 'tokenizer.ggml.token_type';
  const types = metadata.has(typesKey)
    ? metadata.numbers(typesKey, tokens.length)
    : tokens.map(() => TOKEN_TYPE.normal);
  const vocab: Record<string, number> = Object.create(null);
  const added: Json[] = [];
  let unknown: string | null = null;
  for (const [id, content] of tokens.entries()) {
    if (types[id] === TOKEN_TYPE.unused) continue;
    vocab[content] ??= id;
    if (types[id] === TOKEN_TYPE.unknown) unknown = content;
    const isSpecial = types[id] === TOKEN_TYPE.control || types[id] === TOKEN_TYPE.unknown;
    if (!isSpecial && types[id] !== TOKEN_TYPE.userDefined) continue;
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: isSpecial };
    added.push({ id, content, ...flags });
  }
  const config: Record<string, unknown> = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
  };
  for (const [name, key] of Object.entries(SPECIAL_TOKENS)) {
    if (!metadata.has(key)) continue;
    const token = tokens[metadata.number(key)];
    if (token === undefined) throw metadata.refusal(key, metadata.number(key), 'the id of a token');
    config[name] = token;
  }
  if (metadata.has('tokenizer.chat_template'))
    config.chat_template = metadata.text('tokenizer.chat_template');
  const kind = metadata.text('tokenizer.ggml.model');
  if (kind !== 'gpt2' && kind !== 'llama')
    throw metadata.refusal('tokenizer.ggml.model', kind, 'gpt2 or llama');
  const parts =
    kind === 'gpt2' ? byteLevel(metadata, vocab) : sentencePiece(metadata, tokens, vocab, unknown);
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    ...parts,
    post_processor: postProcessor(metadata, tokens, kind === 'llama'),
  };
  return { json, config };
}

const NO_OPTIONS = { dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null };

function byteLevel(metadata: Metadata, vocab: Record<string, number>): Json {
  const key = 'tokenizer.ggml.pre';
  const name = metadata.has(key) ? metadata.text(key) : 'default';
  const known = preTokenizerOf(name);
  if (!known) throw metadata.refusal(key, name, PRE_TOKENIZER_NAMES);
  const merges = metadata.texts('tokenizer.ggml.merges').map((merge) => {
    // A token may contain a space only in a byte's stand-in, so the first space separates.
    const cut = merge.indexOf(' ', 1);
    return [merge.slice(0, cut), merge.slice(cut + 1)];
  });
  const model = { type: 'BPE', ...NO_OPTIONS, unk_token: null, fuse_unk: false, byte_fallback: false };
  return {
    normalizer: null,
    pre_tokenizer: known.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ...model, ignore_merges: known.ignoresMerges, vocab, merges },
  };
}

function sentencePiece(
  metadata: Metadata,
  tokens: readonly string[],
  vocab: Record<string, number>,
  unknown: string | null,
): Json {
  const scores = metadata.numbers('tokenizer.ggml.scores', tokens.length);
  const prefix = metadata.flag('tokenizer.ggml.add_space_prefix', true);
  const replace = (from: string, to: string) => ({ type: 'Replace', pattern: { String: from }, content: to });
  const normalizers = [...(prefix ? [{ type: 'Prepend', prepend: '▁' }] : []), replace(' ', '▁')];
  const strip = prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  const decoders = [replace('▁', ' '), { type: 'ByteFallback' }, { type: 'Fuse' }, ...strip];
  const model = { type: 'BPE', ...NO_OPTIONS, unk_token: unknown, fuse_unk: true, byte_fallback: true };
  return {
    normalizer: { type: 'Sequence', normalizers },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: { ...model, ignore_merges: false, vocab, merges: mergesOf(vocab, scores) },
  };
}

/** Every split of a token into two others, best score first, as transformers converts SentencePiece. */
export function mergesOf(
  vocab: Readonly<Record<string, number>>,
  scores: readonly number[],
): [string, string][] {
  const found: { pair: [string, string]; score: number }[] = [];
  for (const token in vocab) {
    for (let cut = 1; cut < token.length; cut++) {
      const pair: [string, string] = [token.slice(0, cut), token.slice(cut)];
      if (pair[0] in vocab && pair[1] in vocab) found.push({ pair, score: scores[vocab[token]] });
    }
  }
  found.sort((a, b) => b.score - a.score || a.pair[0].length - b.pair[0].length);
  return found.map(({ pair }) => pair);
}

/** The template that adds BOS and EOS, as in Llama's tokenizers. */
function postProcessor(metadata: Metadata, tokens: readonly string[], bosByDefault: boolean): Json | null {
  const ids = { bos: SPECIAL_TOKENS.bos_token, eos: SPECIAL_TOKENS.eos_token };
  const adds = (role: keyof typeof ids, absent: boolean) =>
    metadata.flag(`tokenizer.ggml.add_${role}_token`, absent) && metadata.has(ids[role]);
  const special = (role: keyof typeof ids) => {
    const id = metadata.number(ids[role]);
    return { id: tokens[id], ids: [id], tokens: [tokens[id]] };
  };
  const used = [
    ...(adds('bos', bosByDefault) ? [{ role: 'bos' as const, before: true }] : []),
    ...(adds('eos', false) ? [{ role: 'eos' as const, before: false }] : []),
  ];
  if (used.length === 0) return null;
  const around = (id: string, type_id: number) => [
    ...used
      .filter(({ before }) => before)
      .map(({ role }) => ({ SpecialToken: { id: special(role).id, type_id } })),
    { Sequence: { id, type_id } },
    ...used
      .filter(({ before }) => !before)
      .map(({ role }) => ({ SpecialToken: { id: special(role).id, type_id } })),
  ];
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(used.map(({ role }) => [special(role).id, special(role)])),
  };
}
