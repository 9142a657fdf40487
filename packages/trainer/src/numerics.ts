/** What rounds: a run that goes on elsewhere is the same run, but for its last digits. */
import { readFileSync } from 'node:fs';
import { describeBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** What the bytes of a run depend on beside its options, by name; in `trainer/state.json` of a checkpoint. */
export type Numerics = Readonly<Record<string, string>>;

/**
 * Describes what computes here, as far as it decides how results are rounded. Not the number of threads: kernels give the
 * same bits with any.
 */
export function describeNumerics(ranks: number): Numerics {
  const { name, device } = describeBackend();
  const { precision = 'float32' } = tf.backend() as { precision?: string };
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return {
    backend: name,
    device: device.replace(/, \d+ threads?$/, ''),
    precision,
    ranks: String(ranks),
    meap: version,
    tensorflowjs: tf.version_core,
    // Its functions of Math are the kernels.
    ...(name === 'cpu' && { node: process.versions.node.split('.')[0] }),
  };
}

/** What has changed since a checkpoint was written, in words; undefined where nothing has, or nobody knows. */
export function changedNumerics(before: unknown, now: Numerics): string | undefined {
  if (typeof before !== 'object' || before === null) return undefined;
  const old = before as Record<string, unknown>;
  const changes = Object.entries(now)
    .filter(([name, value]) => typeof old[name] === 'string' && old[name] !== value)
    .map(([name, value]) => `${name} ${old[name]} → ${value}`);
  return changes.length > 0 ? changes.join(', ') : undefined;
}
