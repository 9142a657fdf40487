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
  /** Training texts: strings, or documents of `readDocuments`. */
  documents: Iterable<string | { text: string }> | AsyncIterable<string | { text: string }>;
  /** Number of tokens of the result: special tokens, the 256 bytes, then merges. */
  vocabSize: number;
  /** Token that starts a document, id 0. Default `<s>`. */
  bosToken?: string;
  /** Token that ends a document, id 1. Default `</s>`. */
  eosToken?: string;
  /** Further special tokens, from id 2. */
  additionalSpecialTokens?: readonly string[];
}

/**
 * Trains a byte-level BPE tokenizer of exactly `vocabSize` tokens.
 *
 * The result equals that of the Python library's `BpeTrainer` on the same documents (without trailing white space) with
 * the same special tokens and the byte alphabet. Like Llama's, it adds BOS before a text. It can encode any string.
 *
 * @throws TokenizerError if the text yields fewer than `vocabSize` tokens, or special tokens repeat
 */
export async function trainBpeTokenizer(options: TrainBpeOptions): Promise<Tokenizer> {
  const { documents, vocabSize, bosToken = '<s>', eosToken = '</s>', additionalSpecialTokens = [] } = options;
  const special = [bosToken, eosToken, ...additionalSpecialTokens];
  if (new Set(special).size < special.length) {
    throw new TokenizerError(`trainBpeTokenizer: special tokens repeat, got ${special.join(' ')}`);
  }
  // The trainer numbers the alphabet, and breaks ties, in the order of its code points.
  const vocab = new Map([...special, ...byteLevelAlphabet().sort()].map((token, id) => [token, id]));
  if (!Number.isInteger(vocabSize) || vocabSize < vocab.size) {
    throw new TokenizerError(
      `trainBpeTokenizer: got vocabSize ${vocabSize}, expected at least ${vocab.size} (special tokens and bytes)`,
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
      `trainBpeTokenizer: the text yields ${vocab.size} tokens, got vocabSize ${vocabSize}; use more text or a smaller vocabulary (the trainer stops near 30000)`,
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
 * Replaces line feeds during training. The library reads training files line by line, so it would never see white space
 * that spans a line feed, as encoding does. A vertical tab is white space to its regular expression, does not end a
 * line, and follows the line feed in the byte alphabet, so that ties break alike.
 */
const lineFeedStandIn = { character: '\v', inAlphabet: 'ċ', meaning: 'Ċ' };

/**
 * The ordered list of merges of the library's default trainer (30,000 tokens).
 *
 * Its JavaScript interface has no vocabulary size, but each merge depends only on those before it, so truncating the
 * list gives the smaller vocabulary.
 */
async function learnMerges(documents: TrainBpeOptions['documents']): Promise<[string, string][]> {
  const folder = mkdtempSync(join(tmpdir(), 'token-dataset-bpe-'));
  try {
    const corpus = join(folder, 'corpus.txt');
    const file = openSync(corpus, 'w');
    try {
      for await (const document of documents) {
        const text = typeof document === 'string' ? document : document.text;
        // Trailing white space would merge with the line feed between documents, which belongs to none of them.
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

// In Deno such a script has no `require` and not Node's first arguments.
const trainScript = `
const [library, corpus, output] = process.argv.slice(-3);
const { createRequire } = process.getBuiltinModule('node:module');
const { BPE, byteLevelPreTokenizer, Tokenizer } = createRequire(library)(library);
const tokenizer = new Tokenizer(BPE.empty());
tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true));
tokenizer.train([corpus]);
tokenizer.save(output);
`;

/** Trains in a separate process, because the library blocks its thread and prints to standard output. */
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
