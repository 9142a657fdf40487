/**
 * The splits of byte-level BPE by their names in GGUF, `tokenizer.ggml.pre`: llama.cpp has the regular expressions of
 * published tokenizers built in, and knows no others.
 */
import { ModelError } from '../errors.ts';

/** A part of a tokenizer.json. */
export type Json = Readonly<Record<string, unknown>>;

interface PreTokenizer {
  readonly name: string;
  /** Other names with the same splits. */
  readonly aliases: readonly string[];
  /** Whether a word of the vocabulary is a token even if merges do not lead to it. */
  readonly ignoresMerges: boolean;
  /** Splits before the bytes are mapped; absent: GPT-2's, part of ByteLevel. */
  readonly regex?: string;
  /** Whether each digit is a word. */
  readonly splitsDigits?: true;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const WORDS = '|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|';
const LLAMA3 = `${CONTRACTIONS}${WORDS}\\p{N}{1,3}${REST}`;
const TEKKEN =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+' +
  '|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*' +
  '|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const PRE_TOKENIZERS: readonly PreTokenizer[] = [
  { name: 'gpt-2', aliases: ['olmo'], ignoresMerges: false },
  { name: 'smollm', aliases: [], ignoresMerges: false, splitsDigits: true },
  { name: 'llama-bpe', aliases: ['llama3', 'llama-v3'], ignoresMerges: true, regex: LLAMA3 },
  { name: 'dbrx', aliases: ['smaug-bpe'], ignoresMerges: false, regex: LLAMA3 },
  {
    name: 'qwen2',
    aliases: ['deepseek-r1-qwen', 'stablelm2'],
    ignoresMerges: false,
    regex: `${CONTRACTIONS}${WORDS}\\p{N}${REST}`,
  },
  { name: 'tekken', aliases: [], ignoresMerges: true, regex: TEKKEN },
];

/** GGUF's name of the `pre_tokenizer` of a tokenizer.json. @throws ModelError for one that llama.cpp does not have */
export function preTokenizerName(preTokenizer: unknown, ignoresMerges: boolean): string {
  const steps = ((preTokenizer as Json | null)?.pretokenizers ?? [preTokenizer]) as (Json | null)[];
  const byteLevel = steps.at(-1);
  const [first] = steps.length === 2 ? steps : [];
  const regex = (first?.pattern as Json | undefined)?.Regex;
  const isolates =
    first?.behavior === 'Isolated' ? !first.invert : first?.behavior === 'Removed' && first.invert;
  const found = PRE_TOKENIZERS.find((known) => {
    if (known.ignoresMerges !== ignoresMerges) return false;
    if (known.regex) return first?.type === 'Split' && isolates && regex === known.regex;
    return known.splitsDigits
      ? first?.type === 'Digits' && first.individual_digits === true
      : steps.length === 1;
  });
  const isByteLevel = byteLevel?.type === 'ByteLevel' && byteLevel.add_prefix_space !== true;
  if (found && isByteLevel && (byteLevel.use_regex !== false) === !found.regex) return found.name;
  throw new ModelError(
    `tokenizer.json: GGUF cannot hold this pre_tokenizer, got ${JSON.stringify(preTokenizer)} with ignore_merges ` +
      `${ignoresMerges}, expected that of GPT-2, SmolLM2, Llama 3, Qwen2 or Mistral Nemo, or of a tokenizer trained here`,
  );
}

/** The `pre_tokenizer` and `ignore_merges` of a name; undefined for an unknown one. */
export function preTokenizerOf(name: string): { preTokenizer: Json; ignoresMerges: boolean } | undefined {
  const known = PRE_TOKENIZERS.find((known) => known.name === name || known.aliases.includes(name));
  if (!known) return undefined;
  const { regex, splitsDigits, ignoresMerges } = known;
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: !regex };
  const split = { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false };
  const first = regex ? split : splitsDigits && { type: 'Digits', individual_digits: true };
  const preTokenizer = first ? { type: 'Sequence', pretokenizers: [first, byteLevel] } : byteLevel;
  return { preTokenizer, ignoresMerges };
}

/** The names that {@link preTokenizerOf} knows. */
export const PRE_TOKENIZER_NAMES = PRE_TOKENIZERS.map(({ name }) => name).join(', ');
