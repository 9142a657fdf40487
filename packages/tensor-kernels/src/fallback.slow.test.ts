import { expect, it, vi } from 'vitest';
import { setBackend } from './backend.ts';

// Replaces a module, so it needs a worker of its own, which slow tests have.
vi.mock('./native-addon.ts', () => ({
  loadNativeAddon: () => {
    throw new Error('native: the kernels are not here; run npm rebuild');
  },
}));

it('describes the cost of the wasm backend, the reason, and what to do', async () => {
  const { name, reason } = await setBackend('auto');
  expect(name).toBe('wasm');
  expect(reason).toContain('about 65 times slower than native, which cannot run here (');
  expect(reason).toContain('native: the kernels are not here; run npm rebuild');
});
