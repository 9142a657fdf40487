import { cut, excerptOf, isObject } from './records.ts';

/** The string at a dotted path of a record, or the reason why there is none. */
export function textOfRecord(record: unknown, textField: string): string | { reason: string } {
  let value = record;
  // A key that itself contains dots takes precedence.
  const keys = isObject(record) && Object.hasOwn(record, textField) ? [textField] : textField.split('.');
  for (const key of keys) {
    if (!isObject(value) || !Object.hasOwn(value, key)) {
      const got = isObject(value)
        ? `the keys ${cut(Object.keys(value).join(', '), 300) || '(none)'}`
        : excerptOf(value);
      return { reason: `field '${textField}' is missing, got ${got}` };
    }
    value = value[key];
  }
  return typeof value === 'string'
    ? value
    : { reason: `field '${textField}' is not a string, got ${excerptOf(value)}` };
}
