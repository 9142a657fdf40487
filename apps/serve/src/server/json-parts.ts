/** JSON of large values, in parts. */

const PART_SIZE = 64 * 1024;
// Items worded at once.
const NUM_ITEMS = 64;

/**
 * The UTF-8 of a value's JSON in parts of at most 64 KiB, other work of the process in between.
 *
 * Worded at once, an answer of tens of megabytes would hold up everybody else; written at once, a client that reads it
 * slowly could not be told from one that does not read.
 *
 * @param value plain objects, lists, and what they hold; iterables in place of lists are worded as they are made
 */
export async function* jsonParts(value: unknown): AsyncGenerator<Buffer, void, undefined> {
  let text = '';
  for (const piece of pieces(value)) {
    text += piece;
    if (text.length < PART_SIZE) continue;
    yield* slices(text);
    text = '';
    await new Promise(setImmediate);
  }
  yield* slices(text);
}

function* slices(text: string): Generator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += PART_SIZE) yield bytes.subarray(at, at + PART_SIZE);
}

function* pieces(value: unknown): Generator<string> {
  if (Array.isArray(value)) {
    yield '[';
    for (let at = 0; at < value.length; at += NUM_ITEMS) {
      yield (at === 0 ? '' : ',') + JSON.stringify(value.slice(at, at + NUM_ITEMS)).slice(1, -1);
    }
    yield ']';
  } else if (typeof value === 'object' && value !== null && Symbol.iterator in value) {
    let separator = '[';
    for (const item of value as Iterable<unknown>) {
      yield separator;
      yield* pieces(item);
      separator = ',';
    }
    yield separator === '[' ? '[]' : ']';
  } else if (typeof value === 'object' && value !== null) {
    let separator = '{';
    for (const [key, item] of Object.entries(value)) {
      if (item === undefined) continue;
      yield `${separator}${JSON.stringify(key)}:`;
      yield* pieces(item);
      separator = ',';
    }
    yield separator === '{' ? '{}' : '}';
  } else yield JSON.stringify(value);
}
