import { expect, it } from 'vitest';
import { reportFallback } from './model-command.ts';

it('reports wasm and cpu where they were not selected, and no other backend', () => {
  const written = (selected: string | undefined, name: 'wasm' | 'cpu' | 'native') => {
    let text = '';
    const stderr = { write: (piece: string) => (text += piece) };
    reportFallback(selected, { name, device: 'no threads', reason: 'no addon' }, stderr as never);
    return text;
  };
  expect(written('auto', 'wasm')).toBe('backend      wasm (no threads): no addon\n');
  expect(written(undefined, 'cpu')).toContain('cpu');
  expect([written('wasm', 'wasm'), written('auto', 'native')]).toEqual(['', '']);
});
