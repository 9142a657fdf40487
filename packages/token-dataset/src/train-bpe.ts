import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { byteLevelAlphabet } from 'tokenizers';
import { reasonOf, TokenizerError } from './errors.ts';
import { Tokenizer } from './tokenizer.ts';

/** Options of {@link trainBpeTokenizer}. */
export interface TrainBpeOptions {
  /** Texts to learn from: strings, or documents as `readDocuments` yields them. */
  documents: Iterable<string | { text: string }> | AsyncIterable<string | { text: string }>;
  /** Number of tokens of the result: special tokens, the 256 bytes, then merges. */
  vocabSize: number;
  /** Token that opens a document, id 0. Default `<s>`. */
  bosToken?: string;
  /** Token that closes a document, id 1. Default `</s>`. */
  eosToken?: string;
  /** Further special tokens, from id 2. */
  additionalSpecialTokens?: readonly string[];
}

/**
 * Trains a byte-level BPE tokenizer of exactly `vocabSize` tokens.
 *
 * The result equals that of the Python library's `BpeTrainer` on the same documents (without white space at
 * their ends) with the same special tokens and the byte alphabet. It puts BOS before a text, as Llama's does, and can encode any string.
 *
 * @throws TokenizerError where the text yields fewer tokens than asked, or special tokens repeat.
 */
export async function trainBpeTokenizer(options: TrainBpeOptions): Promise<Tokenizer> {
  const { documents, vocabSize, bosToken = '<s>', eosToken = '</s>', additionalSpecialTokens = [] } = options;
  const special = [bosToken, eosToken, ...additionalSpecialTokens];
  if (new Set(special).size < special.length) {
    throw new TokenizerError(`trainBpeTokenizer: special tokens repeat, got ${special.join(' ')}`);
  }
  // The alphabet in the order of its code points is the order in which the trainer numbers and breaks ties.
  const vocab = new Map([...special, ...byteLevelAlphabet().sort()].map((token, id) => [token, id]));
  if (!Number.isInteger(vocabSize) || vocabSize < vocab.size) {
    throw new TokenizerError(
      `trainBpeTokenizer: vocabSize is ${vocabSize}, expected at least ${vocab.size} (special tokens and bytes)`,
    );
  }
  const merges: [string, string][] = [];
  for (const [left, right] of await learnMerges(documents)) {
    if (vocab.size === vocabSize) break;
    merges.push([left, right]);
    if (!vocab.has(left + right)) vocab.set(left + right, vocab.size);
  }
  if (vocab.size < vocabSize) {
    throw new TokenizerError(
      `trainBpeTokenizer: the text yields ${vocab.size} tokens, got vocabSize ${vocabSize}; give more text or ask for fewer (the trainer stops near 30000)`,
    );
  }
  const json = JSON.stringify(tokenizerJson(special, vocab, merges), null, 2);
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: bosToken,
    eos_token: eosToken,
    clean_up_tokenization_spaces: false,
    ...(additionalSpecialTokens.length > 0 && { additional_special_tokens: [...additionalSpecialTokens] }),
  };
  return new Tokenizer(json, config, 'trained tokenizer');
}

/**
 * Stands for a line feed while learning. The library reads its training files line by line, so it would never
 * see a run of white space that goes over a line end, as encoding does. A vertical tab is white space to its
 * regular expression too, ends no line, and is next to the line feed in the byte alphabet, so ties break alike.
 */
const lineFeedStandIn = { character: '\v', inAlphabet: 'ċ', meaning: 'Ċ' };

/**
 * The ordered list of merges that the library's default trainer (30,000 tokens) finds.
 *
 * Its JavaScript interface takes no vocabulary size, but merges are learned one after another and each
 * depends only on those before, so a shorter list is the result of asking for fewer.
 */
async function learnMerges(documents: TrainBpeOptions['documents']): Promise<[string, string][]> {
  const folder = mkdtempSync(join(tmpdir(), 'token-dataset-bpe-'));
  try {
    const corpus = join(folder, 'corpus.txt');
    const file = openSync(corpus, 'w');
    try {
      for await (const document of documents) {
        const text = typeof document === 'string' ? document : document.text;
        // White space at the end would pair with the line feed between documents, which is in none of them.
        const line = text.trimEnd().replaceAll('\n', lineFeedStandIn.character);
        writeFileSync(file, `${line}\n`);
      }
    } finally {
      closeSync(file);
    }
    const trained = join(folder, 'tokenizer.json');
    await train(corpus, trained);
    const merges: [string, string][] = JSON.parse(readFileSync(trained, 'utf8')).model.merges;
    const restore = (token: string) => token.replaceAll(lineFeedStandIn.inAlphabet, lineFeedStandIn.meaning);
    return merges.map(([left, right]) => [restore(left), restore(right)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// Deno gives such a script neither `require` of its own nor Node's first arguments.
const trainScript = `
const [library, corpus, output] = process.argv.slice(-3);
const { createRequire } = process.getBuiltinModule('node:module');
const { BPE, byteLevelPreTokenizer, Tokenizer } = createRequire(library)(library);
const tokenizer = new Tokenizer(BPE.empty());
tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true));
tokenizer.train([corpus]);
tokenizer.save(output);
`;

/** Trains in a process of its own, because the library blocks its thread and prints to standard output. */
async function train(corpus: string, output: string): Promise<void> {
  const library = createRequire(import.meta.url).resolve('tokenizers');
  try {
    await promisify(execFile)(process.execPath, ['-e', trainScript, library, corpus, output]);
  } catch (error) {
    throw new TokenizerError(`trainBpeTokenizer: the training process failed: ${reasonOf(error)}`);
  }
}

function tokenizerJson(
  special: readonly string[],
  vocab: ReadonlyMap<string, number>,
  merges: readonly [string, string][],
) {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const [bosToken] = special;
  const bos = (type_id: number) => ({ SpecialToken: { id: bosToken, type_id } });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: 'TemplateProcessing',
      single: [bos(0), text('A', 0)],
      pair: [bos(0), text('A', 0), bos(1), text('B', 1)],
      special_tokens: { [bosToken]: { id: bosToken, ids: [0], tokens: [bosToken] } },
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  };
}
