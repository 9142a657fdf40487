import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { capitalize } from './python-text.ts';

describe('capitalize', () => {
  const { letters, words } = JSON.parse(
    readFileSync(new URL('../fixtures/capitalize.json', import.meta.url), 'utf8'),
  ) as { letters: string; words: [string, string][] };

  test('of every code point is Python’s', () => {
    const changed = new Map(letters.split(' ').map((entry) => splitAfterFirst(entry)));
    const different: string[] = [];
    // Beyond the first two planes no script has cases.
    for (let code = 0; code < 0x20000; code++) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const letter = String.fromCodePoint(code);
      // A later Unicode may have added a capital.
      const expected = changed.get(letter) ?? letter.toUpperCase();
      if (capitalize(letter) !== expected) different.push(`${code.toString(16)}: ${capitalize(letter)}`);
    }
    expect(different).toEqual([]);
    expect(Math.max(...[...changed.keys()].map((letter) => letter.codePointAt(0)!))).toBeLessThan(0x20000);
  });

  test.each(words)('of %j is Python’s %j', (word, expected) => {
    expect(capitalize(word)).toBe(expected);
  });
});

function splitAfterFirst(entry: string): [string, string] {
  const [first] = entry;
  return [first, entry.slice(first.length)];
}
