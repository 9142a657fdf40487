/** What determines rounding: a run resumed on other hardware or versions differs in the last digits. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '@meap/files';
import { describeBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** What the bytes of a run depend on besides its options; in `trainer/state.json` of a checkpoint. */
export type Numerics = Readonly<Record<string, string>>;

/**
 * Describes backend, hardware and versions as far as they affect rounding. The number of threads does not: kernels return
 * the same bits with any.
 */
export function describeNumerics(ranks: number): Numerics {
  const { name, device } = describeBackend();
  const { precision = 'float32' } = tf.backend() as { precision?: string };
  const { version } = JSON.parse(readFileSync(join(packageFolder(import.meta.url), 'package.json'), 'utf8'));
  return {
    backend: name,
    device: device.replace(/, \d+ threads?$/, ''),
    precision,
    ranks: String(ranks),
    meap: version,
    tensorflowjs: tf.version_core,
    // The cpu backend computes with the functions of Math.
    ...(name === 'cpu' && { node: process.versions.node.split('.')[0] }),
  };
}

/** Describes changes since a checkpoint was written; undefined if there are none or they are unknown. */
export function changedNumerics(before: unknown, now: Numerics): string | undefined {
  if (typeof before !== 'object' || before === null) return undefined;
  const old = before as Record<string, unknown>;
  const changes = Object.entries(now)
    .filter(([name, value]) => typeof old[name] === 'string' && old[name] !== value)
    .map(([name, value]) => `${name} ${old[name]} → ${value}`);
  return changes.length > 0 ? changes.join(', ') : undefined;
}
