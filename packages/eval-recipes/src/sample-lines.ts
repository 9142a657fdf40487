/** Lines of `samples_TASK.jsonl`, as lm-evaluation-harness 0.4.13 writes them (`lm_eval/loggers/evaluation_tracker.py`). */
import { createHash } from 'node:crypto';
import type { Sample, SampleLog, TaskResult } from '@meap/evals';
import { pythonText } from '@meap/token-dataset';

/**
 * A line for each row and filter: all rows of the first filter, then those of the next.
 *
 * Tasks that the harness does not have are logged with their own fields: requests, answers, numbers.
 */
export function sampleLines({ samples }: Pick<TaskResult, 'samples'>): unknown[] {
  const [first] = samples;
  if (first?.log === undefined) return [...samples];
  return first.log.flatMap((_, filter) => samples.map((sample) => sampleLine(sample, sample.log![filter])));
}

function sampleLine({ id, measured }: Sample, log: SampleLog): Record<string, unknown> {
  const metrics = Object.entries(measured).flatMap(([metric, { value, weight }]) => {
    const [name, filter = 'none'] = metric.split(',');
    return filter === log.filter ? [[name, weight === undefined ? value : [value, weight]] as const] : [];
  });
  const requests = log.arguments.map((args, i) => {
    const named = Object.fromEntries(args.map((arg, k) => [`arg_${k}`, arg]));
    return [`gen_args_${i}`, named] as const;
  });
  const doc = JSON.parse(
    JSON.stringify(log.doc, (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
  );
  const target = pythonText(log.target);
  return {
    doc_id: Number(id),
    doc,
    target,
    arguments: Object.fromEntries(requests),
    resps: inWords(log.resps),
    filtered_resps: inWords(log.filteredResps),
    filter: log.filter,
    metrics: metrics.map(([name]) => name),
    doc_hash: sha256(JSON.stringify(doc, null, 2)),
    prompt_hash: sha256(String(log.arguments[0][0])),
    target_hash: sha256(target),
    ...Object.fromEntries(metrics),
  };
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** All values as Python's texts of them. */
function inWords(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inWords);
  return typeof value === 'number' ? floatText(value) : pythonText(value);
}

/** `str` of a float. */
function floatText(value: number): string {
  const [digits, exponent] = value.toExponential().split('e');
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  }
  const text = Object.is(value, -0) ? '-0' : String(value);
  return Number.isInteger(value) ? `${text}.0` : text;
}
