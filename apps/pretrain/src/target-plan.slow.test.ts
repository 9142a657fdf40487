import { type Executable, findPlugin, type HloModule } from '@meap/pjrt';
import { describe, expect, it, vi } from 'vitest';
import { loadConfig } from './load-config.ts';
import { planOn } from './target-plan.ts';

const cuda = await findPlugin('cuda13').catch(() => undefined);
const tpu = await findPlugin('tpu').catch(() => undefined);

/** The programs of the last plan. */
let executed: Executable[] = [];
vi.mock('@meap/tensor-kernels', async (original) => {
  const kernels = await original<typeof import('@meap/tensor-kernels')>();
  const planOnTarget: typeof kernels.planOnTarget = async (...args) => {
    const programs = await kernels.planOnTarget(...args);
    return async () => {
      executed = await programs();
      return executed;
    };
  };
  return { ...kernels, planOnTarget };
});

/** Plans a step of one of the paper's sizes; returns the plan and the program of the last micro-batch. */
async function planned(recipe: string, target: string) {
  const file = new URL(`../../../recipes/pretrain/${recipe}.yaml`, import.meta.url).pathname;
  const plan = await planOn(loadConfig(file, ['backend=xla']), target);
  return { plan, last: await executed[executed.length - 1].optimizedProgram() };
}

/** Element types and sizes of all tensors that a program stores: those of fusions' insides are in registers. */
function stored({ computations }: HloModule) {
  const inner = new Set(
    computations.flatMap(({ instructions }) =>
      instructions.filter(({ opcode }) => opcode === 'fusion').flatMap(({ calls }) => calls),
    ),
  );
  return computations
    .filter(({ name }) => !inner.has(name))
    .flatMap(({ instructions }) => instructions)
    .flatMap(({ shape }) => [...shape.matchAll(/(\w+)\[([\d,]*)\]/g)])
    .map(([, type, sizes]) => ({
      type,
      elements: sizes.split(',').reduce((product, size) => product * +size, 1),
    }));
}

/** Element types of the operands of all matrix products. */
function productTypes({ computations }: HloModule): Set<string> {
  return new Set(
    computations.flatMap(({ instructions }) => {
      const shapes = new Map(instructions.map(({ name, shape }) => [name, shape]));
      const products = instructions.filter(
        ({ opcode, customCallTarget }) => opcode === 'dot' || /gemm|matmul/.test(customCallTarget),
      );
      return products.flatMap(({ operands }) =>
        operands.slice(0, 2).map((name) => shapes.get(name)!.split('[')[0]),
      );
    }),
  );
}

const BLOCKS = { '100m': 12, '1.1b-20k-steps': 24 };

describe.skipIf(!cuda)('a step for H200s that are not here', () => {
  it.each([
    ['100m', 'h200', 1],
    ['1.1b-20k-steps', 'h200', 1],
    ['1.1b-20k-steps', 'h200x8', 8],
  ] as const)('of %s on %s', async (recipe, target, numDevices) => {
    const { plan, last } = await planned(recipe, target);
    const calls = last.computations.flatMap(({ instructions }) =>
      instructions.map(({ customCallTarget }) => customCallTarget),
    );
    const count = (name: string) => calls.filter((one) => one === name).length;
    // Recomputation runs the forward kernel twice.
    expect(count('__cudnn$fmhaSoftmax')).toBe(2 * BLOCKS[recipe]);
    expect(count('__cudnn$fmhaSoftmaxBackward')).toBe(BLOCKS[recipe]);
    expect(productTypes(last)).toEqual(new Set(['bf16']));
    expectNoCopies(plan, last, numDevices);
  });
});

describe.skipIf(!tpu)('a step for TPUs that are not here', () => {
  it('of 100m on v5p-8', async () => {
    const { plan, last } = await planned('100m', 'v5p-8');
    expectNoCopies(plan, last, 4);
  });
});

/** Weights and moments are updated in place, and logits exist for a part of the rows only. */
function expectNoCopies(plan: Awaited<ReturnType<typeof planOn>>, last: HloModule, numDevices: number): void {
  const { model, parameters, memory_bytes: memory } = plan;
  const own = (12 * parameters) / numDevices;
  expect(memory.weights_and_moments / own).toBeGreaterThan(0.999);
  expect(memory.weights_and_moments / own).toBeLessThan(1.02);
  const logits = (8 / numDevices) * 4096 * model.vocab_size;
  const floats = stored(last).filter(({ type }) => type === 'f32');
  expect(Math.max(...floats.map(({ elements }) => elements))).toBeLessThan(logits);
  expect(plan.fits).toBe(true);
}
