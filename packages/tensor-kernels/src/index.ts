export { type BackendDescription, type BackendName, describeBackend, setBackend } from './backend.ts';
export {
  attention,
  embedding,
  linear,
  linearCrossEntropy,
  rmsNorm,
  rotaryEmbedding,
  swiGlu,
  tokenLosses,
} from './ops.ts';
export { type AdamWOptions, adamW, globalNorm } from './optimizer.ts';
export { recompute } from './recompute.ts';
export type { AttentionOptions } from './reference.ts';
