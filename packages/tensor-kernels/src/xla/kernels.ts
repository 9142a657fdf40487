/** TensorFlow.js kernels of the `xla` backend: each records its lowering. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import { sharing } from '../kernel-shapes.ts';
import type { Kernels } from '../kernel-signatures.ts';
import { attentionLowerings, cachedAttention } from './attention.ts';
import type { XlaBackend } from './backend.ts';
import { dropout, layerLowerings } from './layers.ts';
import { lossLowerings } from './loss.ts';
import type { Lowering } from './lowering.ts';
import { adamW, adamWNumbers, gradientScale, muon, muonNumbers, optimizerLowerings } from './optimizer.ts';
import { stockLowerings } from './stock-ops.ts';

const lowerings = {
  ...stockLowerings,
  ...attentionLowerings,
  ...layerLowerings,
  ...lossLowerings,
  ...optimizerLowerings,
} as Readonly<Record<string, Lowering>>;

/** Results of a recorded call, as TensorFlow.js expects them. */
const oneOrAll = (tensors: tf.TensorInfo[]) => (tensors.length === 1 ? tensors[0] : tensors);

/** Checks the ids that the host knows. */
function requireIds(backend: XlaBackend, ids: tf.TensorInfo, numRows: number): void {
  const known = backend.hostValues(ids) as Int32Array | undefined;
  const at = known?.findIndex((id) => id < 0 || id >= numRows) ?? -1;
  if (at < 0) return;
  throw new Error(
    `embedding: id outside the vocabulary, got ${known![at]} at position ${at}, expected 0 to ${numRows - 1}`,
  );
}

/** Kernels that do more than record: what changes from call to call is an argument of the program. */
const kernels: Kernels<XlaBackend> = {
  Embedding({ backend, inputs }) {
    requireIds(backend, inputs.ids, inputs.table.shape[0]);
    return oneOrAll(backend.record('Embedding', lowerings.Embedding, inputs));
  },

  CachedAttention({ backend, inputs, attrs: { lengths, ...attributes } }) {
    const targets = lengths.flatMap((_, b) => [inputs[`keys${b}`], inputs[`values${b}`]]);
    const given = { ...inputs, lengths: backend.argument(Int32Array.from(lengths), [lengths.length], true) };
    const lowering = cachedAttention as Lowering;
    return oneOrAll(backend.recordInPlace('CachedAttention', lowering, given, targets, attributes));
  },

  Dropout({ backend, inputs: { x }, attrs: { rowKeys, dropBelow } }) {
    const given = { x, rowKeys: backend.argument(rowKeys.slice(), [rowKeys.length / 2, 2], false) };
    return oneOrAll(backend.record('Dropout', dropout as Lowering, given, { dropBelow }));
  },

  AdamW({ backend, inputs, attrs }) {
    const { parameter, firstMoment, secondMoment } = inputs;
    const numbers = backend.sharedArgument(`AdamW ${Object.values(attrs)}`, () => adamWNumbers(attrs));
    const targets = [parameter, firstMoment, secondMoment];
    return backend.recordInPlace('AdamW', adamW as Lowering, { ...inputs, numbers }, targets);
  },

  Muon({ backend, inputs, attrs }) {
    // With the size that the step depends on: at a rate of 0 all steps are equal, which must not be another program.
    const name = `Muon ${[Math.max(...inputs.parameter.shape), ...Object.values(attrs)]}`;
    const numbers = backend.sharedArgument(name, () => muonNumbers(attrs));
    const targets = [inputs.parameter, inputs.momentumBuffer];
    return backend.recordInPlace('Muon', muon as Lowering, { ...inputs, numbers }, targets);
  },

  GradientScale({ backend, inputs: { values, previous }, attrs: { numLosses, numTargets, clipNorm } }) {
    const numbers = backend.argument(Float32Array.of(numTargets, clipNorm), [2], true);
    const first = previous ?? backend.argument(Float32Array.of(1), [1], false);
    const given = { values, previous: first, numbers };
    return oneOrAll(backend.record('GradientScale', gradientScale as Lowering, given, { numLosses }));
  },

  Cast({ backend, inputs: { x }, attrs }) {
    if (x.dtype === attrs.dtype) return sharing(backend, x);
    return oneOrAll(backend.record('Cast', lowerings.Cast, { x }, { dtype: attrs.dtype }));
  },
};

/** Kernels that give the data another shape, or none: they compute nothing. */
const views: Record<string, tf.KernelFunc> = {
  Identity: ({ inputs, backend }) => sharing(backend as XlaBackend, inputs.x as tf.TensorInfo),
  Reshape({ inputs, attrs, backend }) {
    const x = inputs.x as tf.TensorInfo;
    const size = tf.util.sizeFromShape(x.shape);
    const shape = tf.util.inferFromImplicitShape((attrs as unknown as tf.ReshapeAttrs).shape, size);
    if (tf.util.sizeFromShape(shape) !== size) {
      throw new Error(`reshape: got [${x.shape}] and the shape [${shape}], expected equally many elements`);
    }
    return { ...sharing(backend as XlaBackend, x), shape };
  },
  ExpandDims({ inputs, attrs, backend }) {
    const x = inputs.input as tf.TensorInfo;
    const { dim } = attrs as unknown as tf.ExpandDimsAttrs;
    const at = dim < 0 ? x.shape.length + dim + 1 : dim;
    return {
      ...sharing(backend as XlaBackend, x),
      shape: [...x.shape.slice(0, at), 1, ...x.shape.slice(at)],
    };
  },
};

/** Registers all kernels; those of TensorFlow.js without a lowering refuse by name. */
export function registerXlaKernels(): void {
  const all = new Map<string, tf.KernelFunc>();
  for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
    all.set(kernelName, () => {
      throw new BackendError(
        `xla: the op ${kernelName} has no lowering; compose it of others, or use the native or webgpu backend`,
      );
    });
  }
  for (const [name, lowering] of Object.entries(lowerings)) {
    all.set(name, ({ inputs, attrs, backend }) =>
      oneOrAll(
        (backend as XlaBackend).record(name, lowering, inputs as Record<string, tf.TensorInfo>, attrs),
      ),
    );
  }
  for (const [name, kernel] of [...Object.entries(kernels), ...Object.entries(views)]) {
    all.set(name, kernel as unknown as tf.KernelFunc);
  }
  for (const [kernelName, kernelFunc] of all)
    tf.registerKernel({ kernelName, backendName: 'xla', kernelFunc });
}
