import { expect, it } from 'vitest';
import { collectiveTraffic } from './collectives.ts';
import { deviceTarget } from './device-targets.ts';
import type { HloInstruction, HloModule } from './hlo-module.ts';

it.each([
  ['h200', 1, 'h200', '1x1x1'],
  ['h100x8', 8, 'h100', '1x1x8'],
  ['h200x32', 32, 'h200', '4x1x8'],
  ['v5p-32', 16, 'v5p:2x2x4', undefined],
  ['v6e-16', 16, 'v6e:4x4', undefined],
])('%s has %i devices', (name, numDevices, topology, hosts) => {
  const target = deviceTarget(name);
  expect(target.numDevices).toBe(numDevices);
  expect(target.topology[0]).toBe(topology);
  expect(target.topology[1].topology).toBe(hosts);
});

it.each([
  [
    'a100',
    "deviceTarget: got 'a100', expected GPUs such as h100, h200x8, or TPUs such as v5e-16, v5p-32, v6e-16",
  ],
  ['h200x12', "deviceTarget: got 'h200x12', expected up to 8 GPUs, or a multiple of it"],
  [
    'v6e-12',
    "deviceTarget: got 'v6e-12', expected one of v6e-1, v6e-4, v6e-8, v6e-16, v6e-32, v6e-64, v6e-128, v6e-256",
  ],
])('%s is refused', (name, message) => {
  expect(() => deviceTarget(name)).toThrow(message);
});

it('counts what collectives send, in loops and in the forms of GPUs and TPUs', () => {
  const instruction = (opcode: string, shape: string, others: Partial<HloInstruction> = {}) => ({
    ...{ name: '', opcode, shape, operands: [], calls: [], customCallTarget: '' },
    ...others,
  });
  const group = { groupSize: 4 };
  const computations = [
    {
      name: 'main',
      instructions: [
        instruction('all-gather', '(bf16[8,100], f32[4])', group),
        instruction('all-gather-start', '(f32[25], f32[100])', group),
        instruction('reduce-scatter', 'f32[25]', group),
        instruction('while', '(f32[100])', { calls: ['condition', 'body'], tripCount: 3 }),
        instruction('fusion', 'f32[25]', { calls: ['all-reduce-scatter.1'] }),
        ...['start', 'async_collective_fusion.1', 'done'].map((name) =>
          instruction('fusion', '', { calls: [name] }),
        ),
      ],
    },
    { name: 'condition', instructions: [] },
    { name: 'body', instructions: [instruction('all-reduce', 'f32[10]')] },
    { name: 'all-reduce-scatter.1', instructions: [instruction('all-reduce', 'f32[100]', group)] },
    { name: 'start', instructions: [instruction('all-to-all', 'f32[8]', group)] },
    { name: 'async_collective_fusion.1', instructions: [instruction('all-to-all', 'f32[8]', group)] },
    {
      name: 'done',
      instructions: [
        instruction('all-to-all', 'f32[8]', group),
        instruction('custom-call', '', { customCallTarget: 'AsyncCollectiveDone' }),
      ],
    },
  ];
  const module = { computations, entry: 'main' } as unknown as HloModule;
  expect(collectiveTraffic(module, 2)).toEqual({
    'all-gather': { count: 3, bytes: ((1600 + 16 + 400) * 3) / 4 },
    'reduce-scatter': { count: 2, bytes: 300 + 300 },
    'all-reduce': { count: 3, bytes: 3 * 40 },
    'all-to-all': { count: 1, bytes: 24 },
  });
});
