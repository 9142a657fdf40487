/** An upper bound for the text length per token, so that text that is too long need not be tokenized. */
interface Step {
  type?: string;
  normalizers?: Step[];
  pretokenizers?: Step[];
  pattern?: { String?: string };
  content?: string;
  behavior?: string;
}

interface TokenizerContents {
  normalizer?: Step | null;
  pre_tokenizer?: Step | null;
  model: { type?: string; vocab: Record<string, number> | [string, number][]; byte_fallback?: boolean };
  added_tokens?: { content: string; lstrip: boolean; rstrip: boolean }[];
}

/**
 * Returns the maximum number of UTF-8 bytes per token; infinite if the tokenizer drops text or maps any number of unknown
 * characters to one token.
 *
 * @param json contents of a `tokenizer.json`
 */
export function maxBytesPerToken(json: string): number {
  const { normalizer, pre_tokenizer, model, added_tokens = [] } = JSON.parse(json) as TokenizerContents;
  const steps = [...stepsOf(normalizer), ...stepsOf(pre_tokenizer)];
  const isByteLevel = steps.some(({ type }) => type === 'ByteLevel');
  const tokens = Array.isArray(model.vocab) ? model.vocab.map(([token]) => token) : Object.keys(model.vocab);
  const hasBytes = model.byte_fallback === true && tokens.filter((token) => BYTE.test(token)).length === 256;
  if (!isByteLevel && !hasBytes) return Number.POSITIVE_INFINITY;
  if (added_tokens.some(({ lstrip, rstrip }) => lstrip || rstrip)) return Number.POSITIVE_INFINITY;
  // In byte-level BPE a character represents a byte.
  const lengthOf = (token: string) => (isByteLevel ? token.length : Buffer.byteLength(token));
  let longest = 1;
  for (const token of tokens) longest = Math.max(longest, lengthOf(token));
  for (const { content } of added_tokens) longest = Math.max(longest, Buffer.byteLength(content));
  return steps.reduce((bytes, step) => bytes * shrinkage(step), longest);
}

const BYTE = /^<0x[0-9A-F]{2}>$/;

function stepsOf(step: Step | null | undefined): Step[] {
  if (!step) return [];
  const parts = step.normalizers ?? step.pretokenizers;
  return step.type === 'Sequence' && parts ? parts.flatMap(stepsOf) : [step];
}

/** Returns the factor by which a step can shorten a text. */
function shrinkage({ type, pattern, content, behavior }: Step): number {
  switch (type) {
    case 'ByteLevel':
    case 'Prepend':
    case 'Metaspace':
    case 'Digits':
      return 1;
    // Composed characters, https://unicode.org/faq/normalization.html
    case 'NFC':
    case 'NFD':
      return 3;
    case 'Replace': {
      const from = pattern?.String;
      if (from === undefined || content === undefined) return Number.POSITIVE_INFINITY;
      return Buffer.byteLength(content) >= Buffer.byteLength(from) ? 1 : Number.POSITIVE_INFINITY;
    }
    case 'Split':
    case 'Punctuation':
      return behavior === 'Removed' ? Number.POSITIVE_INFINITY : 1;
    default:
      return Number.POSITIVE_INFINITY;
  }
}
