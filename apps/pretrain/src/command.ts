/** The command line of `meap-pretrain`, as a function from arguments to an exit code. */
import { type CommandIo, inRecipeWords, packageVersion, runTrainingCommand } from '@meap/recipe-cli';
import { dryRun, renderDryRun } from './dry-run.ts';
import { isUserError } from './errors.ts';
import { loadConfig, RULES } from './load-config.ts';
import type { PretrainConfig } from './resolve-config.ts';
import { planOn, renderTargetPlan } from './target-plan.ts';
import { createProgress } from './training/progress.ts';
import { type PretrainEvent, pretrain } from './training/run.ts';
import type { RunFacts } from './training/run-facts.ts';
import { renderSummary } from './training/summary.ts';

/** Runs `meap-pretrain`; all output goes through `io`. */
export function pretrainCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  let facts: RunFacts | undefined;
  return runTrainingCommand<PretrainConfig, PretrainEvent>(
    {
      name: 'meap-pretrain',
      description: 'Pre-train a LLaMA with MEAP from a YAML recipe.',
      version: packageVersion(import.meta.url),
      isUserError,
      rules: RULES,
      loadConfig,
      plan: async (config, { width }) => {
        const plan = await dryRun(config, width);
        const problems = plan.problems.map((problem) => inRecipeWords(problem));
        return { json: { ...plan, problems }, text: renderDryRun(plan), problems };
      },
      planOn: async (config, target) => {
        const plan = await planOn(config, target);
        return { json: plan, text: renderTargetPlan(plan) };
      },
      run: (config, { onEvent, ...options }) =>
        pretrain(config, {
          ...options,
          onEvent: (event) => {
            if (event.type === 'ready') facts = event;
            onEvent?.(event);
          },
        }),
      progress: createProgress,
      summary: (out, seconds) => renderSummary(out, facts!, seconds),
    },
    argv,
    io,
  );
}
