/** The matrix of a study by `meap-study`, read from its folder. */
import { readdir } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { FoundRun } from './find-runs.ts';
import { parsePlainYaml } from './plain-yaml.ts';
import { textOf } from './read-batch.ts';
import type { StudyCell, StudySummary } from './shared/protocol.ts';
import { readSmallFile } from './small-file.ts';

const MAX_CELLS = 1000;

/** Returns a study; `runs` are all runs that were found. */
export async function readStudy(
  { path, name }: FoundRun,
  runs: Iterable<{ readonly id: string; readonly path: string }>,
): Promise<StudySummary> {
  const [plan, record] = await Promise.all(
    ['plan.yaml', 'runs.yaml'].map((file) => readYaml(join(path, file))),
  );
  const [done, failed] = await Promise.all(['results', 'failures'].map((kind) => namesIn(join(path, kind))));
  const own = [...runs].filter((run) => run.path.startsWith(path + sep));
  const cells: StudyCell[] = [];
  for (const [arm, seed] of seedsOf(record).slice(0, MAX_CELLS)) {
    const folder = join(path, 'runs', arm, `seed-${seed}`) + sep;
    const file = `${arm}-seed-${seed}.json`;
    cells.push({
      arm,
      seed,
      end: done.has(file) ? 'done' : failed.has(file) ? 'failed' : null,
      runs: own.filter((run) => run.path.startsWith(folder)).map(({ id }) => id),
    });
  }
  return { name, title: textOf(plan.title) || name, cells };
}

/** Arms and seeds of `runs.yaml`, in the order in which they were added. */
function seedsOf({ seeds }: Record<string, unknown>): [arm: string, seed: number][] {
  if (!Array.isArray(seeds)) return [];
  return seeds.flatMap((entry) =>
    Object.entries(asRecord(asRecord(entry).added)).flatMap(([arm, list]) =>
      Array.isArray(list)
        ? list.filter(Number.isSafeInteger).map((seed): [string, number] => [arm, seed])
        : [],
    ),
  );
}

async function readYaml(path: string): Promise<Record<string, unknown>> {
  try {
    return asRecord(parsePlainYaml((await readSmallFile(path)) ?? ''));
  } catch {
    return {};
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

async function namesIn(folder: string): Promise<Set<string>> {
  return new Set(await readdir(folder).catch(() => []));
}
