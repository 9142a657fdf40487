/** What a report says in words, for HTML and Markdown. */
import { bytes, counted, duration } from '@meap/recipe-cli';
import { runName } from '../plan.ts';
import { stepArguments } from '../programs.ts';
import type { Study } from '../study-files.ts';

/** Says what the study is and how much of it has run. */
export function statusLines({ plan, runs, results, failures }: Study): string[] {
  const missing = runs.filter((run) => !results.has(runName(run)));
  const failed = missing.filter((run) => failures.has(runName(run)));
  return [
    plan.kind === 'exploratory'
      ? 'EXPLORATORY: the plan was not made before its results. Its p-values describe these runs; they confirm nothing.'
      : 'Confirmatory: measures, comparisons and corrections were fixed before the first run.',
    `${results.size} of ${counted(runs.length, 'run')} finished.${
      missing.length > 0 ? ` Missing: ${missing.map(runName).join(', ')}.` : ''
    }`,
    ...failed.map((run) => {
      const { step, message } = failures.get(runName(run))!;
      return `Failed: ${runName(run)} in ${step}: ${message.split('\n').at(-1)}`;
    }),
  ];
}

/** Says what was fixed before the runs, and what was not. */
export function planLines({ hash, record, plan }: Study): string[] {
  const from = record.commit === undefined ? '' : ` at commit ${record.commit}`;
  const [first, ...later] = record.seeds;
  return [
    `Fixed before the first run, on ${record.fixed} of this machine’s clock${from}: plan.yaml, with SHA-256 ${hash}. Every ` +
      'result has this hash. It covers steps, recipes, arms, measures, comparisons and kind.',
    `Not in the hash: the seeds. First: ${describeSeeds(first.added)}.${
      later.length > 0 ? ' Added since:' : ' None were added since.'
    }`,
    ...later.map(
      ({ finished, added }) => `when ${counted(finished, 'run')} had finished: ${describeSeeds(added)}.`,
    ),
    `A seed sets ${plan.vary.join(', ')}; what it does not set is the same in all runs. Evaluations have the same rows in all runs.`,
  ];
}

function describeSeeds(added: Readonly<Record<string, readonly number[]>>): string {
  return Object.entries(added)
    .map(([arm, seeds]) => `${arm} ${seeds.join(' ')}`)
    .join('; ');
}

/** Says on what the study ran, and how long. */
export function machineLines({ timings, results }: Study): string[] {
  const all = [...timings.values()];
  const seconds = all
    .flatMap((timing) => Object.values(timing.seconds))
    .reduce((sum, value) => sum + value, 0);
  const machines = new Set(
    all.map(
      ({ cpu, cores, memoryBytes, platform, node }) =>
        `${cpu}, ${counted(cores, 'core')}, ${bytes(memoryBytes)}, ${platform}, Node.js ${node}`,
    ),
  );
  const commits = new Set(all.flatMap(({ commit }) => commit ?? []));
  const versions = new Set([...results.values()].map((result) => JSON.stringify(result.versions)));
  return [
    `${duration(seconds)} of program time, without attempts that were killed together with the study.`,
    `Machine: ${[...machines].join('; ')}.`,
    ...[...versions].map((versions) => `Versions: ${versionText(versions)}.`),
    ...(commits.size > 0 ? [`Commit: ${[...commits].join('; ')}.`] : []),
  ];
}

function versionText(versions: string): string {
  return Object.entries(JSON.parse(versions) as Record<string, string>)
    .map(([program, version]) => `@meap/${program} ${version}`)
    .join(', ');
}

/** Returns the commands of a study: again from its results, from scratch, and its runs. */
export function commandLines({ plan, record }: Study): string[] {
  const runs = Object.entries(plan.arms).flatMap(([arm, sets]) =>
    Object.entries(plan.steps).map(([name, step]) => {
      const args = stepArguments({
        step: { ...step, recipe: record.recipes[name] },
        set: sets[name] ?? {},
        vary: plan.vary,
        seed: 'SEED',
        out: `DIR/runs/${arm}/seed-SEED/${name}`,
        model: step.model && `DIR/runs/${arm}/seed-SEED/${step.model}`,
      });
      return [`meap-${step.program}`, ...args.map(quoted)].join(' ');
    }),
  );
  return [`meap-study report DIR`, `meap-study --config ${record.config} --out DIR`, ...runs];
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
