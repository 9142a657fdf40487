import type * as tf from '@tensorflow/tfjs-core';
import type { RankGroup } from './rank-group.ts';
import { assign } from './tensor-bytes.ts';

/** Overwrites variables with rank 0's, one after another. */
export async function broadcastTensors(ranks: RankGroup, variables: Iterable<tf.Variable>): Promise<void> {
  for (const variable of variables) {
    const values = (await variable.data<'float32'>()).slice();
    await ranks.collectives.broadcast(values);
    assign(variable, values);
  }
}
