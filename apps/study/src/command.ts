/** The command line of `meap-study`, as a function from arguments to an exit code. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  type CommandIo,
  ConfigurationError,
  commandToResume,
  countFlag,
  duration,
  EXIT,
  isInteractive,
  packageVersion,
  runCommand,
} from '@meap/recipe-cli';
import { acquireLock, stopOnSignals } from '@meap/trainer';
import { Command } from 'commander';
import { loadConfig, type StudyConfig } from './config.ts';
import { planStudy, renderDryRun } from './dry-run.ts';
import { isUserError } from './errors.ts';
import { MatrixProgress } from './progress.ts';
import { type MatrixOptions, runMatrix } from './run-matrix.ts';
import { fixPlan, readStudy } from './study-files.ts';

interface Flags {
  config?: string;
  out?: string;
  jobs?: number;
  dryRun?: true;
}

/** Runs `meap-study`. */
export async function studyCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  let code: number = EXIT.done;
  const program = new Command('meap-study')
    .description('Run a study: arms × seeds of training runs, their measures, statistics and a report.')
    .version(packageVersion(import.meta.url))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    })
    .option('--config <study>', 'a study file, or the name of a built-in one')
    .option('--out <dir>', 'folder of the study; the same command continues it')
    .option('--jobs <n>', 'programs at a time (default: one a core)', countFlag(1))
    .option('--dry-run', 'print runs, hours and disk without running them');
  program
    .command('report')
    .description('Write the results and the report again, from the plan and results in a folder.')
    .argument('<dir>', 'folder of a study; its runs are not needed')
    .action(async (dir: string) => {
      io.stdout.write(`${await report(dir)}\n`);
    });
  const action = async () => {
    const { config: file, out, jobs = availableParallelism(), dryRun } = program.opts<Flags>();
    if (file === undefined) {
      throw new ConfigurationError(['--config: got nothing, expected a study, such as --config smoke']);
    }
    const config = loadConfig(file);
    if (dryRun) {
      io.stdout.write(`${renderDryRun(await planStudy(config, jobs))}\n`);
      return EXIT.done;
    }
    if (out === undefined) {
      throw new ConfigurationError(['--out: got nothing, expected a folder for the study']);
    }
    return runStudy(config, { file, out, jobs, argv, io });
  };
  const ended = await runCommand(program, argv, {
    io,
    isUserError,
    action: async () => {
      code = await action();
      return code;
    },
  });
  return ended === EXIT.done ? code : ended;
}

interface RunStudyOptions {
  file: string;
  out: string;
  jobs: number;
  argv: readonly string[];
  io: CommandIo;
}

async function runStudy(
  config: StudyConfig,
  { file, out, jobs, argv, io }: RunStudyOptions,
): Promise<number> {
  const began = performance.now();
  const stop = stopOnSignals();
  const lock = await acquireLock(out, {
    onWait: (message) => io.stderr.write(`${message}\n`),
    signal: stop.signal,
  });
  let progress: MatrixProgress | undefined;
  try {
    fixPlan(out, config, file);
    const study = readStudy(out);
    progress = new MatrixProgress(study.runs, isInteractive(io.stderr) ? io.stderr : io.stdout);
    progress.line(`study        ${study.plan.title}`);
    progress.line(`plan         ${study.hash.slice(0, 16)}…, ${join(out, 'plan.yaml')}`);
    stop.signal.addEventListener('abort', () =>
      progress?.line(`${stop.signal.reason}: runs save and stop; repeat the signal to end at once`),
    );
    const onState: MatrixOptions['onState'] = (run, state) => progress!.onState(run, state);
    const isComplete = await runMatrix({ out, config, study, jobs, signal: stop.signal, onState });
    progress.close();
    const again = commandToResume('meap-study', argv, out);
    if (stop.signal.aborted) {
      io.stdout.write(`stopped; continue with: ${again}\n`);
      return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
    }
    const seconds = (performance.now() - began) / 1000;
    io.stdout.write(`\n${await report(out)}\ntime         ${duration(seconds)}\n`);
    if (isComplete) return EXIT.done;
    io.stdout.write(`some runs failed; try them again with: ${again}\n`);
    return EXIT.failed;
  } finally {
    progress?.close();
    lock.release();
    stop.dispose();
  }
}

async function report(out: string): Promise<string> {
  // Plots take half of this program's time to load.
  const { writeReport } = await import('./report/write-report.ts');
  return writeReport(out);
}
