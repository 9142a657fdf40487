/** `meap-evaluate compare A B`: compares two models row by row. */
import { basename, join, resolve } from 'node:path';
import { hasResults } from '@meap/eval-recipes';
import { compareResults, EvalsError, type ResultComparison, type TaskResult } from '@meap/evals';
import { commandToResume, openRunDirectory } from '@meap/recipe-cli';
import { renderComparisons } from './comparison-table.ts';
import { loadConfig } from './config.ts';
import { reportOn } from './report/report-command.ts';
import { readResults, writeJson } from './result-files.ts';
import { runEvaluation } from './run.ts';
import { overridesOf, type RunFlags, shownRun, storageOptions, withRunFlags } from './run-command.ts';
import { type CommandContext, runShown } from './shown-run.ts';

export function addCompareCommand({ program, argv, io, done }: CommandContext): void {
  const command = program
    .command('compare')
    .description('Compare two models or finished evaluations row by row: B minus A, such as MEAP minus NTP.')
    .argument('<a>', 'model, or the --out of a run')
    .argument('<b>', 'model, or the --out of a run')
    .option('--out <dir>', 'folder for result files (default: runs/compare-A-B)');
  withRunFlags(command).action(async (a: string, b: string) => {
    const flags = command.opts<RunFlags>();
    const out =
      flags.out ?? join('runs', `compare-${[a, b].map((path) => basename(resolve(path))).join('-')}`);
    openRunDirectory(out, 'auto');
    const folders = [hasResults(a) ? a : join(out, 'a'), hasResults(b) ? b : join(out, 'b')];
    const sides = await runShown(
      shownRun(flags, io, commandToResume(program.name(), argv, out), done),
      async ({ onEvent }, signal) => {
        const sides: (readonly TaskResult[])[] = [];
        for (const [i, path] of [a, b].entries()) {
          if (folders[i] === path) {
            sides.push(readResults(path));
            continue;
          }
          const config = loadConfig(flags.config, overridesOf({ ...flags, model: path }));
          const options = { ...storageOptions(flags), out: folders[i], signal, onEvent };
          sides.push((await runEvaluation(config, options)).tasks);
        }
        return sides;
      },
    );
    if (sides === undefined) return;
    const comparisons = compareTasks(sides[0], sides[1]);
    writeJson(join(out, 'comparison.json'), comparisons);
    const report = reportOn(folders, join(out, 'report.html'));
    io.stdout.write(
      flags.json
        ? `${JSON.stringify(comparisons)}\n`
        : `\n${renderComparisons(comparisons)}\n\ncomparison   ${join(out, 'comparison.json')}\nreport       ${report}\n`,
    );
  });
}

/** Compares all common tasks. */
function compareTasks(a: readonly TaskResult[], b: readonly TaskResult[]): ResultComparison[] {
  const pairs = a.flatMap((result) => {
    const other = b.find(({ task }) => task === result.task);
    return other ? [[result, other] as const] : [];
  });
  if (pairs.length === 0) {
    const names = [a, b].map((results) => results.map(({ task }) => task).join(', '));
    throw new EvalsError(`compare: got tasks ${names.join(' and ')}, expected a common task`);
  }
  return pairs.map(([a, b]) => compareResults(a, b));
}
