/** The command line of `meap-evaluate`, as a function from arguments to an exit code. */
import { type CommandIo, EXIT, packageVersion, runCommand } from '@meap/recipe-cli';
import { Command } from 'commander';
import { addAttentionCommand } from './attention-command.ts';
import { addCompareCommand } from './compare-command.ts';
import { isUserError } from './errors.ts';
import { addListCommand } from './list-command.ts';
import { addReportCommand } from './report/report-command.ts';
import { addRunCommand } from './run-command.ts';

/** Runs `meap-evaluate`. */
export async function evaluateCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  let code: number = EXIT.done;
  const program = new Command('meap-evaluate')
    .description('Evaluate LLaMA, Mistral, Qwen, SmolLM and OLMo 2 models as the MEAP paper does.')
    .version(packageVersion(import.meta.url))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    });
  const done = (exit: number) => {
    code = exit;
  };
  const context = { program, argv, io, done };
  addRunCommand(context);
  addCompareCommand(context);
  addAttentionCommand(context);
  addListCommand(program, io);
  addReportCommand(program, io);
  const action = async () => program.help({ error: true });
  const ended = await runCommand(program, argv, { io, isUserError, action });
  return ended === EXIT.done ? code : ended;
}
