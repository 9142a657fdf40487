/** `meap-evaluate compare`: compares two models row by row, or several runs a side. */
import { basename, join, resolve } from 'node:path';
import { hasResults } from '@meap/eval-recipes';
import {
  compareResults,
  correctPValues,
  EvalsError,
  type ResultComparison,
  type TaskResult,
} from '@meap/evals';
import { ConfigurationError, commandToResume, openRunDirectory } from '@meap/recipe-cli';
import type { Command } from 'commander';
import { compareRunFolders, isArm } from './compare-run-folders.ts';
import { renderComparisons } from './comparison-table.ts';
import { loadConfig } from './config.ts';
import { reportOn } from './report/report-command.ts';
import { COMPARISON_FILE, readResults, writeJson } from './result-files.ts';
import { runEvaluation } from './run.ts';
import { type RunFlags, shownRun, storageOptions, withHubNames, withRunFlags } from './run-command.ts';
import { renderRunsComparison } from './runs-table.ts';
import { type CommandContext, runShown } from './shown-run.ts';

export function addCompareCommand({ program, argv, io, done }: CommandContext): void {
  const command = program
    .command('compare')
    .description(
      'Compare two models or finished evaluations row by row: B minus A, such as MEAP minus NTP. ' +
        'Two arms of a study, or several runs with --with, are compared over seeds.',
    )
    .usage('[options] A B\n       meap-evaluate compare [options] A1 A2... --with B1 B2...')
    .argument('<models...>', 'models, the --out of runs, or arms of a study (STUDY/runs/ARM)')
    .option('--with <dirs...>', 'finished evaluations of B, each paired with one of A in this order')
    .option('--out <dir>', 'folder for result files (default: runs/compare-A-B)');
  withRunFlags(command).action(async (models: string[]) => {
    const { with: given, ...flags } = command.opts<RunFlags & { with?: string[] }>();
    const isOverArms = !given && models.length === 2 && models.some(isArm);
    const [these, others] = isOverArms ? [models.slice(0, 1), models.slice(1)] : [models, given];
    if (!others && models.length !== 2) {
      throw new ConfigurationError([
        `compare: got ${models.length} models, expected 2, or several finished evaluations a side: A1 A2 --with B1 B2`,
      ]);
    }
    const [a, b] = others ? [these[0], others[0]] : models;
    const out =
      flags.out ?? join('runs', `compare-${[a, b].map((path) => basename(resolve(path))).join('-')}`);
    const show = (comparison: unknown, table: string, report: string) =>
      io.stdout.write(
        flags.json
          ? `${JSON.stringify(comparison)}\n`
          : `\n${table}\n\ncomparison   ${join(out, COMPARISON_FILE)}\nreport       ${report}\n`,
      );
    if (others) {
      refuseRunFlags(command, isOverArms ? 'two arms' : '--with');
      const comparison = compareRunFolders(these, others);
      openRunDirectory(out, 'auto');
      writeJson(join(out, COMPARISON_FILE), comparison);
      show(comparison, renderRunsComparison(comparison), await reportOn([out], join(out, 'report.html')));
      return;
    }
    openRunDirectory(out, 'auto');
    const folders = [hasResults(a) ? a : join(out, 'a'), hasResults(b) ? b : join(out, 'b')];
    const sides = await runShown(
      shownRun(flags, io, commandToResume(program.name(), argv, out), done),
      async ({ onEvent, onDownload }, signal) => {
        const sides: (readonly TaskResult[])[] = [];
        for (const [i, path] of [a, b].entries()) {
          if (folders[i] === path) {
            sides.push(readResults(path));
            continue;
          }
          const config = loadConfig(flags.config, await withHubNames({ ...flags, model: path }, io));
          const options = { ...storageOptions(flags), out: folders[i], signal, onEvent, onDownload };
          sides.push((await runEvaluation(config, options)).tasks);
        }
        return sides;
      },
    );
    if (sides === undefined) return;
    const comparisons = correctPValues(compareTasks(sides[0], sides[1]));
    writeJson(join(out, COMPARISON_FILE), comparisons);
    show(comparisons, renderComparisons(comparisons), await reportOn(folders, join(out, 'report.html')));
  });
}

/** @throws ConfigurationError for flags of an evaluation, which a comparison over runs does not run */
function refuseRunFlags(command: Command, beside: string): void {
  const given = Object.keys(command.opts()).filter(
    (name) => !['with', 'out', 'json'].includes(name) && command.getOptionValueSource(name) === 'cli',
  );
  if (given.length === 0) return;
  throw new ConfigurationError([
    `compare: got flags of an evaluation (${given.join(', ')}) beside ${beside}, which evaluates nothing; expected ` +
      'finished evaluations; omit the flags, or pass them to meap-evaluate run',
  ]);
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
