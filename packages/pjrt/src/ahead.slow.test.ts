/** Programs compiled for devices that are not there: the plugins of CUDA and TPUs need no device for it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { cudaTarget } from './cuda-target.ts';
import type { Executable } from './executable.ts';
import { loadPlugin, type Plugin } from './plugin.ts';
import * as hlo from './stablehlo/index.ts';
import { pluginForTests, typed } from './testing.ts';

const cuda = await pluginForTests('cuda13');
const tpu = await pluginForTests('tpu');

/** tanh(x · w), with the contracted dimension over 4 devices. */
const program = hlo.buildModule(
  [
    { ...typed('bfloat16', 512, 1024), sharding: [[], ['x']] },
    { ...typed('bfloat16', 1024, 256), sharding: [['x'], []] },
  ],
  (x, w) => hlo.tanh(hlo.matmul(x, w)),
  { mesh: { x: 4 }, outputShardings: [[[], []]] },
);

async function expectPartitioned(executable: Executable): Promise<string[]> {
  const { inputs, outputs, computations } = await executable.optimizedProgram();
  expect(inputs).toEqual([typed('bfloat16', 512, 256), typed('bfloat16', 256, 256)]);
  expect(outputs).toEqual([typed('bfloat16', 512, 256)]);
  const opcodes = computations.flatMap(({ instructions }) => instructions.map(({ opcode }) => opcode));
  expect(opcodes.some((opcode) => opcode.startsWith('all-reduce'))).toBe(true);
  const { arguments: bytes, outputs: outputBytes } = executable.memoryStats();
  expect([bytes, outputBytes]).toEqual([2 * (512 * 256 + 256 * 256), 2 * 512 * 256]);
  expect((await executable.serialize()).length).toBeGreaterThan(1000);
  return opcodes;
}

describe.skipIf(!cuda)('for H200s', () => {
  let plugin: Plugin;
  beforeAll(() => {
    plugin = loadPlugin(cuda!);
  });

  it('partitions over four', async () => {
    const topology = await plugin.createTopology('h200', cudaTarget('h200', 4));
    expect(topology).toMatchObject({ platformName: 'cuda', devices: { length: 4 } });
    expect(topology.devices[0]).toMatchObject({ kind: 'NVIDIA H200', attributes: { core_count: 132 } });
    await expectPartitioned(await topology.compile(program));
  });

  it("calls cuDNN's fused attention", async () => {
    const [batch, length, heads, width] = [2, 1024, 8, 128];
    const row = typed('bfloat16', batch, length, heads, width);
    const text = hlo.buildModule([row, row, row], (q, k, v) => {
      const scores = [batch, heads, length, length];
      const [output] = hlo.customCall(
        '__cudnn$fmhaSoftmax',
        [q, k, v],
        [typed('bfloat16', batch, heads, length, width), typed('uint8', 0)],
        {
          backendConfig: JSON.stringify(fusedAttention(scores, width ** -0.5)),
          resultLayouts: [[3, 1, 2, 0], [0]],
        },
      );
      return output;
    });
    const topology = await plugin.createTopology('h200', cudaTarget('h200'));
    const executable = await topology.compile(text);
    const { computations } = await executable.optimizedProgram();
    const targets = computations.flatMap(({ instructions }) =>
      instructions.map((one) => one.customCallTarget),
    );
    expect(targets).toContain('__cudnn$fmhaSoftmax');
  });
});

describe.skipIf(!tpu)('for TPUs', () => {
  it('leaves the process able to end', async () => {
    const library = new URL('../dist/index.js', import.meta.url);
    const code = `const { loadPlugin } = await import('${library}');
      await loadPlugin('${tpu}').createTopology('v5e:2x2x1');`;
    const env = { ...process.env, TPU_SKIP_MDS_QUERY: '1', XLA_FLAGS: '' };
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env });
  });

  it('partitions over the four chips of a v5e', async () => {
    // Otherwise the plugin asks the host's metadata server.
    process.env.TPU_SKIP_MDS_QUERY = '1';
    const topology = await loadPlugin(tpu!).createTopology('v5e:2x2x1');
    expect(topology).toMatchObject({ platformName: 'tpu', devices: { length: 4 } });
    await expectPartitioned(await topology.compile(program));
  });
});

/** The backend_config of XLA's fused attention, as JAX writes it (jax/_src/cudnn/fused_attention_stablehlo.py). */
function fusedAttention(scores: readonly number[], scale: number): object {
  const layout = (order: readonly number[]) => ({
    element_type: 'BF16',
    dimensions: scores.map(String),
    tuple_shapes: [],
    layout: { minor_to_major: order.map(String), tiles: [], tail_padding_alignment_in_elements: '1' },
    is_dynamic_dimension: scores.map(() => false),
  });
  const dot = (lhs: string, rhs: string) => ({
    lhs_contracting_dimensions: [lhs],
    rhs_contracting_dimensions: [rhs],
    lhs_batch_dimensions: ['0', '2'],
    rhs_batch_dimensions: ['0', '2'],
  });
  return {
    operation_queue_id: '0',
    wait_on_operation_queues: [],
    cudnn_fmha_backend_config: {
      algorithm: {
        algo_id: '0',
        math_type: 'TENSOR_OP_MATH',
        tuning_knobs: { 17: '1', 24: '0' },
        is_cudnn_frontend: true,
        workspace_size: '0',
      },
      fmha_scale: scale,
      intermediate_tensor_shape: layout([3, 2, 1, 0]),
      is_flash_attention: true,
      mask_type: 'CAUSAL',
      is_causal_mask: false,
      dropout_rate: 0,
      seed: 42,
      sliding_window_length: 0,
      max_seg_per_batch: 1,
      is_paged_attention: false,
      bmm1_dot_dimension_numbers: dot('3', '3'),
      bmm2_dot_dimension_numbers: { ...dot('3', '1'), lhs_batch_dimensions: ['0', '1'] },
    },
  };
}
