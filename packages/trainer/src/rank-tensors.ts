import type * as tf from '@tensorflow/tfjs-core';
import type { RankGroup } from './rank-group.ts';
import { assign } from './tensor-bytes.ts';

/** Copies variables from rank 0 to all ranks. */
export async function broadcastTensors(ranks: RankGroup, variables: Iterable<tf.Variable>): Promise<void> {
  for (const variable of variables) {
    const values = (await variable.data<'float32'>()).slice();
    await ranks.collectives.broadcast(values);
    assign(variable, values);
  }
}
