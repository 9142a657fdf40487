import { isInPlace, requireApart, requireLengths, requireRoot, requireSummable } from './checks.ts';
import type { Collectives, Exchangeable, Summable } from './collectives.ts';

/** Returns the operations of a single rank: a sum is the values themselves. */
export function singleProcess(): Collectives {
  return {
    rank: 0,
    size: 1,
    library: 'single process',
    async allReduce(values) {
      requireSummable('allReduce', values);
    },
    async reduceScatter<Values extends Summable>(values: Values, own: Values) {
      requireSummable('reduceScatter', values);
      requireLengths('reduceScatter', values, own, 1);
      requireApart('reduceScatter', values, own);
      own.set(values as never);
    },
    async allGather<Values extends Exchangeable>(own: Values, values: Values) {
      requireLengths('allGather', values, own, 1);
      if (!isInPlace(values, own, 0)) requireApart('allGather', values, own);
      values.set(own as never);
    },
    async broadcast(_values, root = 0) {
      requireRoot(root, 1);
    },
    async barrier() {},
    async close() {},
  };
}
