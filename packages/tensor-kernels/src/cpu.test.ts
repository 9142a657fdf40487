/** What the addon says about the processor, against what Linux says. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loadNativeAddon } from './native-addon.ts';

const path = '/proc/cpuinfo';
const listed = existsSync(path) ? /^flags\s*:(.*)$/m.exec(readFileSync(path, 'utf8'))?.[1] : undefined;

it.skipIf(!listed)('every instruction set that the processor has is listed, and no other', () => {
  const flags = new Set(listed!.split(' '));
  const has = (...names: string[]) => names.every((name) => flags.has(name));
  const avx2 = has('avx2', 'fma');
  const avx512 = avx2 && has('avx512f', 'avx512bw', 'avx512vl', 'avx512dq');
  const sets = { avx512bf16: avx512 && has('avx512_bf16'), avx512, avx2, portable: true };
  const expected = Object.entries(sets).flatMap(([name, isThere]) => (isThere ? [name] : []));
  expect(loadNativeAddon().instructionSets()).toEqual(expected);
});
