export type { Dtype } from './dtype.ts';
export { SafetensorsError } from './error.ts';
export { readJsonFile } from './json-file.ts';
export { parseSafetensors } from './parse.ts';
export { openSafetensors, readSafetensors, type SafetensorsReader, type TensorInfo } from './reader.ts';
export { type DtypeArrays, fromFloat32, type SafetensorsTensor, toFloat32, toTypedArray } from './tensor.ts';
export {
  type WritableTensor,
  type WriteOptions,
  type WriteShardedOptions,
  writeSafetensors,
  writeShardedSafetensors,
} from './writer.ts';
