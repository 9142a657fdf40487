/** The bits of every kernel's results follow from the sources alone, whatever compiled them. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
// @ts-expect-error JavaScript, so that it runs in any Node.
import { bitsOf } from '../fixtures/bits.mjs';
import { loadNativeAddon } from './native-addon.ts';

const addon = loadNativeAddon();
const expected = JSON.parse(readFileSync(new URL('../fixtures/bits.json', import.meta.url), 'utf8'));
const digests = bitsOf(addon);

it.for(addon.instructionSets())('results on %s equal those of every other build to the bit', (name) => {
  expect(digests[name]).toEqual(expected[name]);
});
