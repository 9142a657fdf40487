/** `meap-evaluate compare A B`: two models, row by row. */
import { basename, join, resolve } from 'node:path';
import { compareResults, EvalsError, type ResultComparison, type TaskResult } from '@meap/evals';
import { type CommandIo, commandToResume, openRunDirectory } from '@meap/recipe-cli';
import type { Command } from 'commander';
import { renderComparisons } from './comparison-table.ts';
import { loadConfig } from './config.ts';
import { hasResults, readResults, writeJson } from './result-files.ts';
import { runEvaluation } from './run.ts';
import { overridesOf, type RunFlags, runShown, withRunFlags } from './run-command.ts';

/** Adds `compare` to a program; `done` hears its exit code. */
export function addCompareCommand(
  program: Command,
  argv: readonly string[],
  io: CommandIo,
  done: (code: number) => void,
): void {
  const command = program
    .command('compare')
    .description(
      'Compare two models, or two finished evaluations, row by row: B less A, such as MEAP less NTP.',
    )
    .argument('<a>', 'model, or --out of an earlier run')
    .argument('<b>', 'the same')
    .option('--out <dir>', 'folder for result files (default: runs/compare-A-B)');
  withRunFlags(command).action(async (a: string, b: string) => {
    const flags = command.opts<RunFlags>();
    const out =
      flags.out ?? join('runs', `compare-${[a, b].map((path) => basename(resolve(path))).join('-')}`);
    openRunDirectory(out, 'auto');
    const again = commandToResume(program.name(), argv, out);
    const sides: (readonly TaskResult[])[] = [];
    for (const [side, path] of [
      ['a', a],
      ['b', b],
    ]) {
      const results = hasResults(path)
        ? readResults(path)
        : await runShown(flags, io, again, (options) => {
            const config = loadConfig(flags.config, overridesOf({ ...flags, model: path }));
            return runEvaluation(config, { ...options, out: join(out, side) });
          });
      if (typeof results === 'number') return done(results);
      sides.push('harness' in results ? results.tasks : results);
    }
    const comparisons = compareTasks(sides[0], sides[1]);
    writeJson(join(out, 'comparison.json'), comparisons);
    io.stdout.write(
      flags.json
        ? `${JSON.stringify(comparisons)}\n`
        : `\n${renderComparisons(comparisons)}\n\ncomparison   ${join(out, 'comparison.json')}\n`,
    );
  });
}

/** Every task that both were asked. */
function compareTasks(a: readonly TaskResult[], b: readonly TaskResult[]): ResultComparison[] {
  const pairs = a.flatMap((result) => {
    const other = b.find(({ task }) => task === result.task);
    return other ? [[result, other] as const] : [];
  });
  if (pairs.length === 0) {
    const names = [a, b].map((results) => results.map(({ task }) => task).join(', '));
    throw new EvalsError(`compare: got results on ${names.join(' and on ')}, expected a task in both`);
  }
  return pairs.map(([a, b]) => compareResults(a, b));
}
