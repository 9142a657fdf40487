import { readFileSync } from 'node:fs';
import { DocumentEncoder, type EncodedBatch, type EncodeSettings } from './encode.ts';

/** A batch for a worker process, which reads the tokenizer from disk once, with its first batch. */
export interface EncodeTask {
  readonly texts: string[];
  readonly settings: EncodeSettings;
  /** A copy of `tokenizer.json`. */
  readonly tokenizerPath: string;
}

let encoder: DocumentEncoder | undefined;

/** Encodes one batch in a worker process. */
export default async function encodeTask(task: EncodeTask): Promise<EncodedBatch> {
  const { tokenizerPath, settings, texts } = task;
  encoder ??= new DocumentEncoder(readFileSync(tokenizerPath, 'utf8'), tokenizerPath, settings);
  return encoder.encode(texts);
}
