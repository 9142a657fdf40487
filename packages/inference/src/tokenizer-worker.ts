/** The worker thread of {@link openTextTokenizer}. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { LiteralEncoder, loadTokenizer } from '@meap/token-dataset';

export interface TokenizerWorkerData {
  readonly directory: string;
  readonly port: MessagePort;
  /** One int32, set to 1 when an answer is on the port. */
  readonly answered: Int32Array;
}

/** A text to encode, the rendering of a chat template to encode with its special tokens, or ids to decode. */
export type TokenizerTask = string | { readonly rendered: string } | readonly number[];

/** Ids, a text, or an error. */
export type TokenizerAnswer =
  | { readonly ids: number[] }
  | { readonly text: string }
  | { readonly error: unknown };

const { directory, port, answered } = workerData as TokenizerWorkerData;
const tokenizer = loadTokenizer(directory);
const encoder = new LiteralEncoder(tokenizer);

port.on('message', async (task: TokenizerTask) => {
  let answer: TokenizerAnswer;
  try {
    if (typeof task === 'string') answer = { ids: Array.from((await encoder.encode([task]))[0].ids) };
    else if ('rendered' in task) {
      answer = { ids: Array.from(await tokenizer.encode(task.rendered, { addSpecialTokens: false })) };
    } else answer = { text: await tokenizer.decode(task, { skipSpecialTokens: true }) };
  } catch (error) {
    answer = { error };
  }
  port.postMessage(answer);
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});
port.postMessage('ready');
