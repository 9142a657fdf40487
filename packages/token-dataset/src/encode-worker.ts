import { readFileSync } from 'node:fs';
import { type EncodedBatch, type EncodeSettings, encodeDocuments } from './encode.ts';
import { type NativeTokenizer, nativeTokenizer } from './native-tokenizer.ts';

/** A batch for a worker process, which reads the tokenizer from disk with its first one. */
export interface EncodeTask {
  readonly texts: string[];
  readonly settings: EncodeSettings;
  /** A copy of `tokenizer.json`. */
  readonly tokenizerPath: string;
}

let native: NativeTokenizer | undefined;

/** The task of a worker process. */
export default async function encodeTask(task: EncodeTask): Promise<EncodedBatch> {
  native ??= nativeTokenizer(readFileSync(task.tokenizerPath, 'utf8'), task.tokenizerPath);
  return encodeDocuments(native, task.texts, task.settings);
}
