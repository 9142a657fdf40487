/** The string at a dotted path of a record, or what is there instead. */
export function textOfRecord(record: unknown, textField: string): string | { reason: string } {
  let value = record;
  // A key that itself has dots in it is taken as written.
  const keys = isObject(record) && Object.hasOwn(record, textField) ? [textField] : textField.split('.');
  for (const key of keys) {
    if (!isObject(value) || !Object.hasOwn(value, key)) {
      const got = isObject(value)
        ? `the keys ${cut(Object.keys(value).join(', '), 300) || '(none)'}`
        : excerpt(value);
      return { reason: `field '${textField}' is missing, got ${got}` };
    }
    value = value[key];
  }
  return typeof value === 'string'
    ? value
    : { reason: `field '${textField}' is not a string, got ${excerpt(value)}` };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function excerpt(value: unknown): string {
  if (typeof value === 'string') return cut(value, 60);
  try {
    const text = JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? `${part}` : part));
    return cut(text ?? 'nothing', 60);
  } catch {
    // JSON.parse reads what is nested more deeply than JSON.stringify can write.
    return 'a value nested too deeply to show';
  }
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
