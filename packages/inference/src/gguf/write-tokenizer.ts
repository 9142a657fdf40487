/**
 * A tokenizer.json as GGUF's metadata.
 *
 * Byte-level BPE keeps its merges, and the name of its pre-tokenizer stands for its regular expression. BPE over ▁ becomes
 * SentencePiece's (`llama`), which has scores instead of merges: at each step it joins the neighbours whose union has the
 * highest score. That equals merges if every split of a token into two others is a merge, and those of a token follow each
 * other, as in tokenizers that were converted from SentencePiece. Of runs of ▁ they are mixed, the longest left part first:
 * both grow a run from its left.
 */
import type { LlamaConfig } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import { ModelError } from '../errors.ts';
import type { MetadataBuilder } from './metadata.ts';
import { type Json, preTokenizerName } from './pre-tokenizers.ts';

/** `tokenizer.ggml.token_type` of a token. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** SentencePiece's space. */
const SPACE = '▁';

/** A token that SentencePiece uses for a byte that no other token has. */
const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

/** Keys of the ids of special tokens in GGUF, by key in tokenizer_config.json. */
export const SPECIAL_TOKENS = {
  bos_token: 'tokenizer.ggml.bos_token_id',
  eos_token: 'tokenizer.ggml.eos_token_id',
  unk_token: 'tokenizer.ggml.unknown_token_id',
  pad_token: 'tokenizer.ggml.padding_token_id',
  mask_token: 'tokenizer.ggml.mask_token_id',
} as const;

interface BpeJson {
  readonly normalizer: Json | null;
  readonly pre_tokenizer: Json | null;
  readonly added_tokens?: readonly { id: number; content: string; special: boolean }[];
  readonly model: {
    readonly type: string;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
    readonly ignore_merges?: boolean;
    readonly byte_fallback?: boolean;
    readonly unk_token?: string | null;
  } & Json;
}

/** Adds a tokenizer. @throws ModelError for one that GGUF cannot hold */
export async function writeTokenizer(
  metadata: MetadataBuilder,
  tokenizer: Tokenizer,
  config: LlamaConfig,
): Promise<void> {
  const json: BpeJson = JSON.parse(tokenizer.json);
  const { model } = json;
  if (model.type !== 'BPE') refuse('model.type', model.type, '"BPE"');
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model[key]) refuse(`model.${key}`, model[key], 'none');
  }
  if (tokenizer.vocabSize > config.vocab_size) {
    refuse('vocabulary', tokenizer.vocabSize, `at most the model's vocab_size (${config.vocab_size})`);
  }
  const { tokens, types } = tokensOf(json, config.vocab_size);
  const merges = model.merges.map((merge): [string, string] => {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') : merge;
    return [left, right];
  });
  const isByteLevel = JSON.stringify(json.pre_tokenizer ?? '').includes('"ByteLevel"');
  metadata.text('tokenizer.ggml.model', isByteLevel ? 'gpt2' : 'llama');
  if (isByteLevel) {
    if (json.normalizer && json.normalizer.type !== 'NFC')
      refuse('normalizer', json.normalizer, 'none or NFC');
    metadata.text('tokenizer.ggml.pre', preTokenizerName(json.pre_tokenizer, model.ignore_merges ?? false));
    metadata.list(
      'tokenizer.ggml.merges',
      merges.map((pair) => pair.join(' ')),
      'string',
    );
  } else {
    metadata.text('tokenizer.ggml.pre', 'default');
    metadata.flag('tokenizer.ggml.add_space_prefix', addsSpacePrefix(json));
    metadata.list('tokenizer.ggml.scores', scoresOf(tokens, model.vocab, merges), 'float32');
  }
  metadata.list('tokenizer.ggml.tokens', tokens, 'string');
  metadata.list('tokenizer.ggml.token_type', types, 'int32');
  await writeSpecialTokens(metadata, tokenizer, config);
}

/** Adds ids of special tokens, and whether encoding adds them. */
async function writeSpecialTokens(
  metadata: MetadataBuilder,
  tokenizer: Tokenizer,
  { eos_token_id }: LlamaConfig,
): Promise<void> {
  const stopIds = [eos_token_id ?? []].flat() as number[];
  const ids = new Map<string, number>();
  for (const [name, key] of Object.entries(SPECIAL_TOKENS)) {
    const given = tokenizer.config[name] as string | { content: string } | null | undefined;
    const id = given && tokenizer.tokenToId(typeof given === 'string' ? given : given.content);
    if (typeof id === 'number') ids.set(key, id);
  }
  // The model's: where it stops is a property of its training.
  const [stop] = stopIds;
  if (stop !== undefined && !stopIds.includes(ids.get(SPECIAL_TOKENS.eos_token) ?? -1)) {
    ids.set(SPECIAL_TOKENS.eos_token, stop);
  }
  const others = stopIds.filter((id) => id !== ids.get(SPECIAL_TOKENS.eos_token));
  if (others.length > 0) ids.set('tokenizer.ggml.eot_token_id', others.at(-1)!);
  for (const [key, id] of ids) metadata.count(key, id);
  const added = await tokenizer.encode('a');
  metadata.flag('tokenizer.ggml.add_bos_token', added[0] === ids.get(SPECIAL_TOKENS.bos_token));
  metadata.flag('tokenizer.ggml.add_eos_token', added.at(-1) === ids.get(SPECIAL_TOKENS.eos_token));
}

/** Texts and types by id; ids without a token, as of padded embeddings, are unused. */
function tokensOf({ model, added_tokens = [] }: BpeJson, size: number) {
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types: number[] = Array(size).fill(TOKEN_TYPE.unused);
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = token;
    types[id] = model.byte_fallback && BYTE_TOKEN.test(token) ? TOKEN_TYPE.byte : TOKEN_TYPE.normal;
  }
  for (const { id, content, special } of added_tokens) {
    tokens[id] = content;
    types[id] = special ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined;
    if (content === model.unk_token) types[id] = TOKEN_TYPE.unknown;
  }
  return { tokens, types };
}

/** Whether a SentencePiece-like tokenizer puts a space before a text. */
function addsSpacePrefix({ normalizer, pre_tokenizer, model }: BpeJson): boolean {
  const steps = (normalizer?.normalizers ?? (normalizer ? [normalizer] : [])) as Json[];
  const replaces = (step: Json | undefined) =>
    step?.type === 'Replace' && (step.pattern as Json).String === ' ' && step.content === SPACE;
  if (!model.byte_fallback) refuse('model.byte_fallback', model.byte_fallback, 'true without a ByteLevel');
  if (pre_tokenizer === null && steps.length === 1 && replaces(steps[0])) return false;
  const [first, second] = steps;
  const prepends = first?.type === 'Prepend' && first.prepend === SPACE;
  if (pre_tokenizer === null && steps.length === 2 && prepends && replaces(second)) return true;
  const isMetaspace = pre_tokenizer?.type === 'Metaspace' && pre_tokenizer.replacement === SPACE;
  if (steps.length === 0 && isMetaspace && pre_tokenizer.split === false) {
    return pre_tokenizer.prepend_scheme !== 'never';
  }
  return refuse(
    'pre_tokenizer',
    { normalizer, pre_tokenizer },
    'ByteLevel, or spaces as ▁ without other splits',
  );
}

/** SentencePiece's scores: the negative rank of a token's first merge. */
function scoresOf(
  tokens: readonly string[],
  vocab: Readonly<Record<string, number>>,
  merges: readonly (readonly [string, string])[],
): number[] {
  const rank = new Map(merges.map((pair, i) => [pair.join(' '), i]));
  // Below any merge, for tokens that none leads to.
  const scores: number[] = Array(tokens.length).fill(-merges.length - 1);
  for (const [token, id] of Object.entries(vocab)) {
    const ranks: number[] = [];
    for (let cut = 1; cut < token.length; cut++) {
      const [left, right] = [token.slice(0, cut), token.slice(cut)];
      if (!Object.hasOwn(vocab, left) || !Object.hasOwn(vocab, right)) continue;
      const found = rank.get(`${left} ${right}`);
      if (found === undefined)
        refuse('merges', `none of "${left}" and "${right}"`, `all splits of "${token}"`);
      ranks.push(found);
    }
    if (ranks.length === 0) continue;
    const first = Math.min(...ranks);
    const isApart = Math.max(...ranks) - first >= ranks.length;
    if (isApart && !/^▁+$/.test(token)) refuse('merges', `those of "${token}" apart`, 'them in a row');
    scores[id] = -first;
  }
  return scores;
}

function refuse(key: string, got: unknown, expected: string): never {
  throw new ModelError(
    `tokenizer.json: GGUF cannot hold this tokenizer, got ${key} ${JSON.stringify(got)}, expected ${expected}`,
  );
}
