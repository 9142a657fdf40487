/** The command line of `meap-finetune`, as a function from arguments to an exit code. */
import { type CommandIo, packageVersion, runTrainingCommand } from '@meap/recipe-cli';
import { dryRun, renderDryRun } from './dry-run.ts';
import { isUserError } from './errors.ts';
import { createProgress } from './progress.ts';
import { type FinetuneConfig, loadConfig, RULES } from './resolve-config.ts';
import { type FinetuneEvent, finetune } from './run.ts';
import { renderSummary } from './summary.ts';

/** Runs `meap-finetune`; all output goes through `io`. */
export function finetuneCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  return runTrainingCommand<FinetuneConfig, FinetuneEvent>(
    {
      name: 'meap-finetune',
      description: 'Fine-tune a LLaMA, Mistral, Qwen, SmolLM or OLMo 2 with MEAP from a YAML recipe.',
      version: packageVersion(import.meta.url),
      isUserError,
      rules: RULES,
      loadConfig,
      plan: async (config, page) => {
        const plan = await dryRun(config, page);
        return { json: plan, text: renderDryRun(plan) };
      },
      run: finetune,
      progress: createProgress,
      summary: renderSummary,
    },
    argv,
    io,
  );
}
