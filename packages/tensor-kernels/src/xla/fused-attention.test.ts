import { readFileSync } from 'node:fs';
import { stablehlo as hlo } from '@meap/pjrt';
import { describe, expect, it } from 'vitest';
import { attentionLowerings } from './attention.ts';
import { dotOf, type Floats } from './lowering.ts';

interface Call {
  target: string;
  config: { cudnn_fmha_backend_config: { intermediate_tensor_shape: { layout: Record<string, unknown> } } };
  layouts: string;
  types: string;
}

/** Calls that JAX writes, by window (fixtures/make_fused_attention.py). */
const ofJax: Record<string, Call[]> = JSON.parse(
  readFileSync(new URL('../../fixtures/fused-attention.json', import.meta.url), 'utf8'),
);

const cuda = dotOf('bfloat16', 'cuda');

/** The program of attention, forward and backward. */
function program({
  dot = cuda,
  window = 0,
  S = 256,
  H = 8,
  G = 4,
  D = 64,
  segments = false,
  mesh = {},
} = {}): string {
  const rows = (length: number, heads: number) => hlo.tensorType('float32', [2, length, heads, D]);
  const T = 256;
  const args = [rows(T, H), rows(S, G), rows(S, G), rows(T, H), hlo.tensorType('float32', [2, T])];
  return hlo.buildModule(
    args,
    (...[q, k, v, dy, ids]) => {
      const inputs = { q, k, v, ...(segments && { segmentIds: hlo.convert(ids, 'int32') }) } as never;
      const options = { window, scale: D ** -0.5 };
      const [out, logSumExp] = attentionLowerings.Attention!(inputs, options, dot) as Floats[];
      const ofBackward = { ...(inputs as object), dy, out, logSumExp } as never;
      return [out, ...(attentionLowerings.AttentionGrad!(ofBackward, options, dot) as Floats[])];
    },
    { mesh },
  );
}

/** The custom calls of a program. */
function callsOf(text: string): Call[] {
  const pattern = /custom_call @"(\S+?)"\(.*backend_config = "(.*?)", (operand_layouts.*)\} : (.*)$/gm;
  return [...text.matchAll(pattern)].map(([, target, config, layouts, types]) => ({
    target,
    config: JSON.parse(config.replaceAll('\\"', '"').replaceAll('\\22', '"')),
    layouts: layouts.replaceAll('dense<[0]>', 'dense<0>'),
    types,
  }));
}

/** Without the layout's fields that say nothing: its order of dimensions is left. */
function withoutDefaults({ config, ...call }: Call): object {
  const { cudnn_fmha_backend_config: ours, ...others } = config;
  const { intermediate_tensor_shape: scores, ...rest } = ours;
  const { minor_to_major } = scores.layout;
  return { ...call, config: { ...others, ...rest, scores: { ...scores, layout: minor_to_major } } };
}

describe('fused attention', () => {
  it.each([0, 100])('is called as JAX calls it, with a window of %d', (window) => {
    const calls = callsOf(program({ window })).map(withoutDefaults);
    const expected = ofJax[window].map(withoutDefaults);
    expect(calls).toEqual(expected);
    expect(calls).toHaveLength(2);
  });

  it('computes on each device its rows and heads', () => {
    const text = program({ mesh: { data: 2, tensor: 4 } });
    expect(text).toContain('sdy.manual_computation');
    const types = callsOf(text).map(({ types }) => types);
    expect(types[0]).toMatch(/^\(tensor<1x256x2x64xbf16>, tensor<1x256x1x64xbf16>, /);
    // Three key heads are not split, so query heads are not either.
    const whole = callsOf(program({ mesh: { data: 2, tensor: 4 }, H: 12, G: 3 }));
    expect(whole[0].types).toMatch(/^\(tensor<1x256x12x64xbf16>, tensor<1x256x3x64xbf16>, /);
  });

  it.each([
    ['in float32', { dot: dotOf('float32', 'cuda') }],
    ['on other platforms', { dot: dotOf('bfloat16', 'tpu') }],
    ['with segments', { segments: true }],
    ['with keys before the queries', { S: 300 }],
    ['with wide heads', { D: 256 }],
    ['with heads of another multiple', { D: 20 }],
  ])('is not used %s', (_, options) => {
    const text = program(options);
    expect(callsOf(text)).toEqual([]);
    expect(text).toContain('stablehlo.exponential');
  });
});
