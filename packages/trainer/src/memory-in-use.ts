import * as tf from '@tensorflow/tfjs-core';
import type { StepMetrics } from './types.ts';

/** Bytes this process and its backend hold now; some microseconds, so every step can say it. */
export function memoryInUse(): Pick<StepMetrics, 'residentBytes' | 'backendBytes'> {
  // The native backend tells what its pool keeps beside live tensors, WebGPU all it has allocated; others count tensors.
  const { numBytes, numBytesInPool = 0, numBytesAllocatedInGPU } = tf.memory() as BackendMemory;
  return {
    residentBytes: residentBytes(),
    backendBytes: numBytesAllocatedInGPU ?? numBytes + numBytesInPool,
  };
}

let lastResident = 0;

/** Where no more files can be opened the system does not tell; what it said last must do. */
function residentBytes(): number {
  try {
    lastResident = process.memoryUsage.rss();
  } catch {}
  return lastResident;
}

type BackendMemory = tf.MemoryInfo & { numBytesInPool?: number; numBytesAllocatedInGPU?: number };
