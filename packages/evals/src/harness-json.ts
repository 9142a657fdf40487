import type { TaskResult } from './result.ts';

/**
 * Converts results to the format of lm-evaluation-harness 0.4.13's `results_*.json`.
 *
 * `results.{task}["acc,none"]` and `["acc_stderr,none"]` (`"N/A"` if unknown), `versions`, `n-shot`, `higher_is_better`,
 * `n-samples`, `configs`, `config`. `effective` does not count skipped rows.
 *
 * @param environment further top-level members, such as `date`, versions or hardware; they do not replace results
 */
export function toHarnessJson(
  results: readonly TaskResult[],
  environment: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const byTask = (make: (result: TaskResult) => unknown) =>
    Object.fromEntries(results.map((result) => [result.task, make(result)]));
  const numAsked = ({ samples }: TaskResult) => samples.length;
  return {
    ...environment,
    results: byTask((result) => ({
      name: result.task,
      alias: result.task,
      sample_len: numAsked(result),
      ...Object.fromEntries(
        Object.entries(result.results).flatMap(([metric, { value, standardError = 'N/A' }]) => [
          [`${metric},none`, value],
          [`${metric}_stderr,none`, standardError],
        ]),
      ),
    })),
    group_subtasks: {},
    configs: byTask(({ task, version, config, metrics }) => ({
      task,
      ...config,
      metric_list: metrics.map(({ name, aggregation, higherIsBetter }) => ({
        metric: name,
        aggregation,
        higher_is_better: higherIsBetter,
      })),
      metadata: { version },
    })),
    versions: byTask(({ version }) => version),
    'n-shot': byTask(() => 0),
    higher_is_better: byTask(({ metrics }) =>
      Object.fromEntries(metrics.map(({ name, higherIsBetter }) => [name, higherIsBetter])),
    ),
    'n-samples': byTask((result) => ({
      original: result.numRows ?? numAsked(result) + result.skipped.length,
      effective: numAsked(result),
    })),
    config: {
      model: results[0]?.model.name,
      model_args: results[0] && {
        fingerprint: results[0].model.fingerprint,
        max_length: results[0].model.contextLength,
      },
    },
  };
}
