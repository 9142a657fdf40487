import { expect, it } from 'vitest';
import type { Mesh, TensorSharding } from '../mesh.ts';
import { holders, join, split } from './parts.ts';

const mesh: Mesh = { data: 2, fsdp: 2, tensor: 3 };
const counted = (size: number) => Int32Array.from({ length: size }, (_, i) => i);

it('gives each device its part, with the last axis of the mesh varying fastest', () => {
  const values = counted(4 * 6);
  const { parts, shape } = split(values, [4, 6], [['fsdp'], ['tensor']], mesh);
  expect(shape).toEqual([2, 2]);
  // Device 5 is data 0, fsdp 1, tensor 2; device 11 differs in data, which splits nothing.
  expect([...parts[5]]).toEqual([16, 17, 22, 23]);
  expect(parts[11]).toBe(parts[5]);
  expect([...parts[0]]).toEqual([0, 1, 6, 7]);
  // The first of two axes is the outer one.
  const rows = split(counted(4), [4], [['data', 'fsdp']], mesh).parts.map(([first]) => first);
  expect(rows).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
});

it.each<[number[], TensorSharding | undefined, number]>([
  [[12, 6, 5], [['fsdp', 'tensor'], ['data'], []], 12],
  [[2, 6, 4], [[], ['tensor'], ['fsdp', 'data']], 12],
  [[3, 4], [[], ['data', 'fsdp']], 4],
  [[7], undefined, 1],
  [[], [], 1],
])('joins the parts of %j split as %j', (shape, sharding, count) => {
  const values = counted(shape.reduce((size, length) => size * length, 1));
  const { parts } = split(values, shape, sharding, mesh);
  const devices = holders(shape, sharding, mesh);
  expect(devices.length).toBe(count);
  const own = devices.map((device) => parts[device]);
  expect(join(own, shape, sharding, mesh)).toEqual(values);
});
