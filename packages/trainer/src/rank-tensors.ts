import * as tf from '@tensorflow/tfjs';
import type { RankGroup } from './rank-group.ts';

/** Overwrites variables with rank 0's, one after another. */
export async function broadcastTensors(ranks: RankGroup, variables: Iterable<tf.Variable>): Promise<void> {
  for (const variable of variables) {
    const values = (await variable.data<'float32'>()).slice();
    await ranks.collectives.broadcast(values);
    assign(variable, values);
  }
}

/** Gives a variable new numbers; on a CPU it takes the array itself. */
export function assign(variable: tf.Variable, values: Float32Array): void {
  const value = tf.tensor(values, variable.shape, 'float32');
  variable.assign(value);
  value.dispose();
}
