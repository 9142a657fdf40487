import { cudaTarget } from './cuda-target.ts';
import { PjrtError } from './errors.ts';
import type { PluginOptions } from './plugin.ts';

/** Devices that programs can be compiled for, with the rates of their data sheets. */
export interface DeviceTarget {
  /** Such as `8 × NVIDIA H200`. */
  readonly description: string;
  readonly numDevices: number;
  /** The plugin that compiles for them. */
  readonly plugin: 'cuda13' | 'tpu';
  /** Arguments of `plugin.createTopology`. */
  readonly topology: readonly [name: string, options: PluginOptions];
  /** Bytes of each device's memory. */
  readonly memoryBytes: number;
  /** What a program may use: the CUDA plugin takes three quarters of a GPU's memory by default. */
  readonly usableBytes: number;
  readonly memoryBytesPerSecond: number;
  /** Dense FLOP of each device a second in bfloat16. */
  readonly flopsPerSecond: number;
  /** The same in float32 of full precision: not TF32 on a GPU, six passes of bfloat16 on a TPU. */
  readonly float32FlopsPerSecond: number;
  /** Bytes that a device sends in collectives a second. */
  readonly linkBytesPerSecond: number;
}

type Rates = Pick<
  DeviceTarget,
  'memoryBytes' | 'memoryBytesPerSecond' | 'flopsPerSecond' | 'linkBytesPerSecond'
>;

/** NVIDIA's data sheets of the SXM form; NVLink 4 in one direction. */
const GPUS = {
  h100: {
    memoryBytes: 80e9,
    memoryBytesPerSecond: 3.35e12,
    flopsPerSecond: 989e12,
    linkBytesPerSecond: 450e9,
  },
  h200: {
    memoryBytes: 141e9,
    memoryBytesPerSecond: 4.8e12,
    flopsPerSecond: 989e12,
    linkBytesPerSecond: 450e9,
  },
} as const satisfies Record<string, Rates>;
const GPUS_PER_HOST = 8;

/** Cloud TPU's documentation of each generation; links along one axis of the torus, both directions. */
const TPUS = {
  v5e: { memoryBytes: 16e9, memoryBytesPerSecond: 819e9, flopsPerSecond: 197e12, linkBytesPerSecond: 90e9 },
  v5p: {
    memoryBytes: 95e9,
    memoryBytesPerSecond: 2.765e12,
    flopsPerSecond: 459e12,
    linkBytesPerSecond: 180e9,
  },
  v6e: {
    memoryBytes: 32e9,
    memoryBytesPerSecond: 1.64e12,
    flopsPerSecond: 918e12,
    linkBytesPerSecond: 180e9,
  },
} as const satisfies Record<string, Rates>;

/** Slices by their number of chips. */
const PLANES: Record<number, string> = {
  ...{ 1: '1x1', 4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8', 128: '8x16', 256: '16x16' },
};
const CUBES: Record<number, string> = {
  ...{ 4: '2x2x1', 8: '2x2x2', 16: '2x2x4', 32: '2x4x4', 64: '4x4x4', 128: '4x4x8', 256: '4x8x8' },
};

/**
 * Returns devices by name: NVIDIA GPUs as `h200`, `h100x8`; TPU slices with Google's names, `v5e-16`, `v6e-16`, and `v5p-32`,
 * which counts the two cores of a chip, 16 chips.
 *
 * @throws PjrtError for another name, with those that there are
 */
export function deviceTarget(name: string): DeviceTarget {
  const gpu = /^(h100|h200)(?:x([1-9]\d*))?$/.exec(name);
  if (gpu) {
    const kind = gpu[1] as keyof typeof GPUS;
    const numDevices = Number(gpu[2] ?? 1);
    const hosts = Math.max(1, numDevices / GPUS_PER_HOST);
    if (!Number.isInteger(hosts)) {
      fail(`got '${name}', expected up to ${GPUS_PER_HOST} GPUs, or a multiple of it`);
    }
    const options = {
      ...cudaTarget(kind),
      topology: `${hosts}x1x${Math.min(numDevices, GPUS_PER_HOST)}`,
    };
    const description = `${numDevices} × NVIDIA ${kind.toUpperCase()}`;
    return {
      description,
      numDevices,
      plugin: 'cuda13',
      topology: [kind, options],
      ...GPUS[kind],
      usableBytes: 0.75 * GPUS[kind].memoryBytes,
      float32FlopsPerSecond: 67e12,
    };
  }
  const tpu = /^(v5e|v5p|v6e)-([1-9]\d*)$/.exec(name);
  if (!tpu) fail(`got '${name}', expected GPUs such as h100, h200x8, or TPUs such as v5e-16, v5p-32, v6e-16`);
  const kind = tpu[1] as keyof typeof TPUS;
  const isCube = kind === 'v5p';
  const slices = isCube ? CUBES : PLANES;
  const numDevices = Number(tpu[2]) / (isCube ? 2 : 1);
  if (!Object.hasOwn(slices, numDevices)) {
    const sizes = Object.keys(slices).map((size) => `${kind}-${Number(size) * (isCube ? 2 : 1)}`);
    fail(`got '${name}', expected one of ${sizes.join(', ')}`);
  }
  const description = `${numDevices} × TPU ${kind}`;
  const topology = [`${kind}:${slices[numDevices]}`, {}] as const;
  return {
    description,
    numDevices,
    plugin: 'tpu',
    topology,
    ...TPUS[kind],
    usableBytes: TPUS[kind].memoryBytes,
    float32FlopsPerSecond: TPUS[kind].flopsPerSecond / 6,
  };
}

function fail(message: string): never {
  throw new PjrtError('INVALID_ARGUMENT', `deviceTarget: ${message}`);
}
