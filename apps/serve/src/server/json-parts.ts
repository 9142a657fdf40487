/** Serializes large values to JSON in parts. */
const PART_SIZE = 64 * 1024;
// Items serialized at once.
const NUM_ITEMS = 64;

/**
 * Yields a value's JSON as UTF-8 in parts of at most 64 KiB, with a turn of the event loop after each.
 *
 * Serializing tens of megabytes at once would block the event loop, and writing them at once would make a slow client
 * look like a stalled one.
 *
 * @param value plain objects and lists; iterables are written as lists and consumed one item at a time
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
