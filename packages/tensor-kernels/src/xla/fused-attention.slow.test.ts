import { findPlugin } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { attention, markStep, setPrecision } from '../index.ts';
import type { Mesh } from '../mesh.ts';
import { startAbsentXla } from './register.ts';

const cuda = await findPlugin('cuda13').catch(() => undefined);

describe.skipIf(!cuda)('fused attention for an H200 that is not here', () => {
  /** Compiles attention and its gradients; returns instructions and memory. */
  async function compiled(target: string, mesh: Mesh, length: number, window?: number) {
    const executed = await startAbsentXla(target, mesh);
    setPrecision('bfloat16');
    const [q, k, v] = [16, 4, 4].map((heads) => tf.variable(tf.zeros([4, length, heads, 128])));
    const results = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(
        () => attention(q, k, v, { window }).square().sum(),
        [q, k, v],
      );
      // Numbers: whole gradients would be gathered from all devices.
      return [value, ...Object.values(grads).map((gradient) => gradient.sum())];
    });
    markStep();
    const [executable] = await executed();
    tf.dispose([...results, q, k, v]);
    const { computations } = await executable.optimizedProgram();
    return {
      instructions: computations.flatMap(({ instructions }) => instructions),
      ...executable.memoryStats(),
    };
  }

  it.each([undefined, 512])('is called forward and backward, with the window %s', async (window) => {
    const short = await compiled('h200', {}, 2048, window);
    const targets = short.instructions.map(({ customCallTarget }) => customCallTarget);
    expect(targets).toContain('__cudnn$fmhaSoftmax');
    expect(targets).toContain('__cudnn$fmhaSoftmaxBackward');
    expect(short.instructions.map(({ opcode }) => opcode)).not.toContain('while');
    // Scores of one head in bfloat16, of both lengths: 8 and 33 MB. Memory is linear in length.
    const long = await compiled('h200', {}, 4096, window);
    expect(long.temporary / short.temporary).toBeLessThan(2.1);
  });

  it('is called for the rows and heads of each device, without communication', async () => {
    const { instructions } = await compiled('h200x4', { data: 2, tensor: 2 }, 2048);
    const forward = instructions.find(({ customCallTarget }) => customCallTarget === '__cudnn$fmhaSoftmax')!;
    expect(forward.shape).toMatch(/bf16\[2,8,2048,128\]/);
    const opcodes = instructions.map(({ opcode }) => opcode);
    expect(opcodes.filter((opcode) => /all-gather|all-to-all|collective-permute/.test(opcode))).toEqual([]);
  });
});
