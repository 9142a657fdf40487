import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';

it('custom-objective.ts trains and validates', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'custom-objective-'));
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const { argv } = process;
  process.argv = [...argv.slice(0, 2), '3', join(folder, 'run')];
  try {
    await import('../template/custom-objective.ts');
    expect(log.mock.lastCall?.[0]).toMatch(/^finished at step 3: .*step-00000003$/);
    const lines = readFileSync(join(folder, 'run/metrics.jsonl'), 'utf8').trim().split('\n');
    const losses = lines.map((line) => JSON.parse(line).loss).filter((loss) => loss !== undefined);
    expect(losses).toHaveLength(3);
    // ln 257 = 5.55 before the first step.
    expect(losses[0]).toBeCloseTo(5.55, 0);
    expect(losses[2]).toBeLessThan(losses[0]);
  } finally {
    process.argv = argv;
    log.mockRestore();
    rmSync(folder, { recursive: true });
  }
});
