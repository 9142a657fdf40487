/** The studies of this repository can be computed again from their committed plans and results. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { hashPlan } from './plan.ts';
import { writeReport } from './report/write-report.ts';
import { newFolder, removeFolders } from './testing.ts';

removeFolders();

const root = fileURLToPath(new URL('../../../studies', import.meta.url));
const studies = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());

describe.each(studies.map(({ name }) => name))('studies/%s', (name) => {
  const folder = join(root, name);
  const read = (...path: string[]) => readFileSync(join(...path), 'utf8');

  it('has the plan of its hash, and results of that plan', () => {
    const hash = hashPlan(read(folder, 'plan.yaml'));
    expect(read(folder, 'plan.sha256')).toContain(hash);
    for (const file of readdirSync(join(folder, 'results'))) {
      expect(JSON.parse(read(folder, 'results', file)).plan, file).toBe(hash);
    }
  });

  it('has the report that its results give', () => {
    const copy = newFolder();
    for (const part of ['plan.yaml', 'plan.sha256', 'runs.yaml', 'results', 'timings', 'failures']) {
      if (existsSync(join(folder, part))) cpSync(join(folder, part), join(copy, part), { recursive: true });
    }
    mkdirSync(join(copy, 'results'), { recursive: true });
    writeReport(copy);
    for (const file of ['results.csv', 'report.md', 'tables.tex', 'report.html']) {
      expect(read(copy, file), file).toBe(read(folder, file));
    }
  });
});
