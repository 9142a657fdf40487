import type { HloComputation, HloModule } from './hlo-module.ts';

/** What the collectives of one kind move in one execution. */
export interface CollectiveTraffic {
  /** Tensors that are exchanged. */
  count: number;
  /** Bytes that each device sends. */
  bytes: number;
}

const BYTES: Record<string, number> = { pred: 1, bf16: 2, f16: 2 };

/** Bytes of each tensor of a shape in HLO's text. */
function tensorBytes(shape: string): number[] {
  return Array.from(shape.matchAll(/([a-z]+\d*)\[([\d,]*)\]/g), ([, type, sizes]) => {
    const width = BYTES[type] ?? Number(/^[a-z]+(\d+)/.exec(type)?.[1] ?? 0) / 8;
    return (sizes ? sizes.split(',') : []).reduce((size, length) => size * Number(length), width);
  });
}

/** Bytes that a device of a group of g sends around a ring, from the bytes of the result (Thakur et al. 2005). */
const SENT: Record<string, (bytes: number, g: number) => number> = {
  'all-gather': (bytes, g) => (bytes * (g - 1)) / g,
  'all-reduce': (bytes, g) => (2 * bytes * (g - 1)) / g,
  'reduce-scatter': (bytes, g) => bytes * (g - 1),
  'all-to-all': (bytes, g) => (bytes * (g - 1)) / g,
  'collective-permute': (bytes) => bytes,
};

/**
 * Counts what the collectives of an optimized program move, by kind: `all-gather`, `all-reduce`, `reduce-scatter`,
 * `all-to-all`, `collective-permute`. A loop counts as often as XLA knows that it runs, else once.
 *
 * @param numDevices the devices of a collective that names no groups
 */
export function collectiveTraffic(
  { computations, entry }: HloModule,
  numDevices: number,
): Record<string, CollectiveTraffic> {
  const byName = new Map(computations.map((one) => [one.name, one]));
  const traffic: Record<string, CollectiveTraffic> = {};
  const add = (kind: string, count: number, bytes: number) => {
    traffic[kind] ??= { count: 0, bytes: 0 };
    traffic[kind].count += count;
    traffic[kind].bytes += bytes;
  };
  const visit = ({ name, instructions }: HloComputation, times: number) => {
    // On TPUs an asynchronous collective is repeated in the fusions that it overlaps with, and in the one that ends it.
    if (name.startsWith('async_collective_fusion')) return;
    if (instructions.some(({ customCallTarget }) => customCallTarget === 'AsyncCollectiveDone')) return;
    // There a reduce-scatter is a fusion of an all-reduce and slices, which sends half as much.
    const isScatter = name.startsWith('all-reduce-scatter');
    for (const { opcode, shape, groupSize: g = numDevices, calls, tripCount = 1 } of instructions) {
      const kind = opcode.replace(/-start$/, '');
      if (Object.hasOwn(SENT, kind)) {
        const tensors = tensorBytes(shape);
        const all = tensors.reduce((sum, bytes) => sum + bytes, 0);
        if (opcode === 'collective-permute-start') add(kind, times, times * tensors[0]);
        // Its start returns the operands too.
        else if (opcode === 'all-gather-start')
          add(kind, (times * tensors.length) / 2, times * SENT[kind]((all * g) / (g + 1), g));
        else if (isScatter) add('reduce-scatter', times * tensors.length, (times * SENT[kind](all, g)) / 2);
        else add(kind, times * tensors.length, times * SENT[kind](all, g));
        continue;
      }
      for (const callee of calls) {
        const called = byName.get(callee);
        if (called) visit(called, times * (opcode === 'while' ? tripCount : 1));
      }
    }
  };
  const main = byName.get(entry);
  if (main) visit(main, 1);
  return traffic;
}
