import { expect, it } from 'vitest';
import { fileName } from './page.ts';

it('names of files contain no paths', () => {
  expect(fileName('../../etc/passwd', 'by', 'length')).toBe('-etc-passwd-by-length');
  expect(fileName('C:\\x', '\0')).toMatch(/^[a-z0-9_-]+$/);
});
