/** RULER's needle tasks: values of keys, hidden in repeated sentences, in essays or among other needles. */
import { fill } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import type { DrawOptions, PromptSource, RulerPrompt } from './ruler-fit.ts';
import { FOREIGN_CLOSING, FOREIGN_STOP } from './sentence-end.ts';
import { adjectives, nouns } from './wonderwords.ts';

type Kind = 'words' | 'numbers' | 'uuids';

/** One of RULER's needle tasks. */
export interface NeedleSetting {
  readonly haystack: 'noise' | 'essay' | 'needle';
  readonly keys: Kind;
  readonly values: Kind;
  /** Keys in the text; default 1. */
  readonly numKeys?: number;
  /** Values of each key; default 1. */
  readonly numValues?: number;
  /** Requested keys; default 1. */
  readonly numQueries?: number;
}

/** Settings by RULER's names of the tasks. */
export const needleSettings = {
  niah_single_1: { haystack: 'noise', keys: 'words', values: 'numbers' },
  niah_single_2: { haystack: 'essay', keys: 'words', values: 'numbers' },
  niah_single_3: { haystack: 'essay', keys: 'words', values: 'uuids' },
  niah_multikey_1: { haystack: 'essay', keys: 'words', values: 'numbers', numKeys: 4 },
  niah_multikey_2: { haystack: 'needle', keys: 'words', values: 'numbers' },
  niah_multikey_3: { haystack: 'needle', keys: 'uuids', values: 'uuids' },
  niah_multivalue: { haystack: 'essay', keys: 'words', values: 'numbers', numValues: 4 },
  niah_multiquery: { haystack: 'essay', keys: 'words', values: 'numbers', numKeys: 4, numQueries: 4 },
} as const satisfies Readonly<Record<string, NeedleSetting>>;

export const NEEDLE_TOKENS = 128;

const NOISE = 'The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.';
const TEMPLATE =
  'Some special magic {kind} are hidden within the following text. Make sure to memorize it. I will quiz you about the {kind} afterwards.\n{context}\nWhat are all the special magic {kind} for {query} mentioned in the provided text? The special magic {kind} for {query} mentioned in the provided text are';
const SINGULAR_TEMPLATE = TEMPLATE.replaceAll('Some', 'A')
  .replaceAll('are all', 'is')
  .replaceAll('are', 'is');

/** numpy.round(numpy.linspace(0, 100, 40)) */
const DEPTHS = Array.from({ length: 40 }, (_, index) => Math.round((index * 100) / 39));

/** The haystack of essays. */
export interface NeedleHay {
  /** Words of the essays. */
  readonly words: readonly string[];
  readonly splitSentences: (text: string) => string[];
}

/** Prompts of a needle task; `hay` is called only by those with essays. */
export function needleSource(
  setting: NeedleSetting,
  { seed, length, count, hay }: DrawOptions & { readonly hay: () => NeedleHay },
): PromptSource {
  const { haystack, values, numKeys = 1, numValues = 1, numQueries = 1 } = setting;
  const random = new PythonRandom(seed);
  const essay = haystack === 'essay' ? hay() : undefined;
  const isSingle = numQueries * numValues === 1;
  const needleOf = (key: string, value: string) =>
    `One of the special magic ${values} for ${key} is: ${value}.`;

  const draw = (size: number): RulerPrompt => {
    const hidden: { key: string; values: string[] }[] = [];
    const needles: string[] = [];
    for (let k = 0; k < numKeys; k++) {
      hidden.push({ key: randomText(random, setting.keys), values: [] });
      for (let v = 0; v < numValues; v++) {
        const value = randomText(random, values);
        hidden[k].values.push(value);
        needles.push(needleOf(hidden[k].key, value));
      }
    }
    new PythonRandom(seed).shuffle(needles);
    const line = () =>
      haystack === 'noise' ? NOISE : needleOf(randomText(random, setting.keys), randomText(random, values));
    const context = essay
      ? hideInEssay(random, needles, essay, size)
      : hideBetweenLines(random, needles, line, size);
    const queried = random.sampleRange(numKeys, numQueries).map((index) => hidden[index]);
    const keys = queried.map(({ key }) => key);
    const query = keys.length > 1 ? `${keys.slice(0, -1).join(', ')}, and ${keys.at(-1)}` : keys[0];
    const prompt = fill(isSingle ? SINGULAR_TEMPLATE : TEMPLATE, {
      kind: isSingle ? values.slice(0, -1) : values,
      context,
      query,
    });
    return { prompt, answers: queried.flatMap(({ values }) => values) };
  };

  const step = essay !== undefined ? 500 : length < 4096 ? 5 : 25;
  const upperBound = (tokensPerPiece: number) => Math.trunc((length / tokensPerPiece) * 3);
  return { draw, count, numFree: NEEDLE_TOKENS, step, probe: step, upperBound };
}

function hideBetweenLines(
  random: PythonRandom,
  needles: readonly string[],
  line: () => string,
  size: number,
): string {
  const lines = Array.from({ length: size }, line);
  const positions = random.sampleRange(size, needles.length).sort((a, b) => b - a);
  for (const [index, position] of positions.entries()) lines.splice(position, 0, needles[index]);
  return lines.join('\n');
}

function hideInEssay(random: PythonRandom, needles: readonly string[], hay: NeedleHay, size: number): string {
  const { words } = hay;
  const taken = Array.from({ length: size }, (_, index) => words[index % words.length]);
  const sentences = hay.splitSentences(taken.join(' ').trim());
  const positions = random
    .sample(DEPTHS, needles.length)
    .map((depth) => Math.trunc(sentences.length * (depth / 100)))
    .sort((a, b) => a - b);
  const parts: string[] = [];
  for (const [index, position] of [...positions, sentences.length].entries()) {
    parts.push(sentences.slice(positions[index - 1] ?? 0, position).join(' '));
    if (index < needles.length) parts.push(needles[index]);
  }
  return parts.join(' ');
}

const SENTENCE_ENDS = new RegExp(
  String.raw`(?<=[.?!]["'”’)\]]*)\s+|(?<=${FOREIGN_STOP}${FOREIGN_CLOSING}*)(?!${FOREIGN_CLOSING}|${FOREIGN_STOP})\s*`,
  'u',
);

/**
 * Splits a text into sentences, which end with a full stop, question or exclamation mark, quotes and brackets. After the
 * marks of other scripts no space is needed.
 */
export function splitSentences(text: string): string[] {
  return text.split(SENTENCE_ENDS);
}

function randomText(random: PythonRandom, kind: Kind): string {
  if (kind === 'numbers') return String(random.integer(1_000_000, 9_999_999));
  if (kind === 'uuids') return uuid(random.bits32(4));
  const words = adjectiveNouns();
  let index = random.integer(0, words.length - 1);
  for (const block of words.blocks) {
    if (index < block.length) return block.at(index);
    index -= block.length;
  }
  throw new Error('the index is below the sum of the blocks');
}

/** UUID of version 4 of 128 random bits, the lowest word first. */
function uuid(words: readonly number[]): string {
  const hex = [...words]
    .reverse()
    .map((word) => word.toString(16).padStart(8, '0'))
    .join('');
  const variant = ((Number.parseInt(hex[16], 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

interface Block {
  readonly length: number;
  at(index: number): string;
}
let known: { readonly length: number; readonly blocks: readonly Block[] } | undefined;

/**
 * RULER's six million distinct "adjective-noun" words in the order of their code points. Blocks of one adjective are
 * built on demand; if an adjective is a prefix of another one ("old-", "old-fashioned-"), their words are sorted
 * together.
 */
function adjectiveNouns() {
  if (known !== undefined) return known;
  const seconds = [...new Set(nouns)].sort();
  const starts = [...new Set(adjectives)].map((adjective) => `${adjective}-`).sort();
  const blocks: Block[] = [];
  for (let first = 0; first < starts.length; ) {
    let end = first + 1;
    while (end < starts.length && starts[end].startsWith(starts[first])) end++;
    const together = starts.slice(first, end);
    if (together.length === 1) {
      const [start] = together;
      blocks.push({ length: seconds.length, at: (index) => start + seconds[index] });
    } else {
      const all = [...new Set(together.flatMap((start) => seconds.map((noun) => start + noun)))].sort();
      blocks.push({ length: all.length, at: (index) => all[index] });
    }
    first = end;
  }
  known = { length: blocks.reduce((sum, { length }) => sum + length, 0), blocks };
  return known;
}
