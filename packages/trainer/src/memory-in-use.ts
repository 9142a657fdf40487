import * as tf from '@tensorflow/tfjs-core';
import type { StepMetrics } from './types.ts';

/** Returns the bytes held by this process and its backend, in some microseconds. */
export function memoryInUse(): Pick<StepMetrics, 'residentBytes' | 'backendBytes'> {
  // The native backend reports its pool beside live tensors, WebGPU all allocations; others report tensors.
  const { numBytes, numBytesInPool = 0, numBytesAllocatedInGPU } = tf.memory() as BackendMemory;
  return {
    residentBytes: residentBytes(),
    backendBytes: numBytesAllocatedInGPU ?? numBytes + numBytesInPool,
  };
}

let lastResident = 0;

/** Returns the last known value if no file can be opened to read the current one. */
function residentBytes(): number {
  try {
    lastResident = process.memoryUsage.rss();
  } catch {}
  return lastResident;
}

type BackendMemory = tf.MemoryInfo & { numBytesInPool?: number; numBytesAllocatedInGPU?: number };
