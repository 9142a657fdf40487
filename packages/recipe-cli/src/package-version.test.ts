import { expect, it } from 'vitest';
import { packageVersion } from './package-version.ts';

it('the version is that of the nearest package above a module', () => {
  expect(packageVersion(import.meta.url)).toMatch(/^\d+\.\d+\.\d+/);
});
