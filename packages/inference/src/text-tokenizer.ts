import { once } from 'node:events';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { TextTokenizer } from '@meap/evals';
import { findWorker } from '@meap/files';
import { type Tokenizer, TokenizerError } from '@meap/token-dataset';
import type { TokenizerAnswer, TokenizerTask, TokenizerWorkerData } from './tokenizer-worker.ts';

/** Cached texts; tasks encode a context once for each of its continuations. */
const RECENT_TEXTS = 8;

/** A {@link TextTokenizer} with a worker thread. */
export interface DisposableTokenizer extends TextTokenizer {
  /** Encodes a text with the special tokens that it spells, such as the rendering of a chat template. */
  encodeRendered(text: string): readonly number[];
  /** Ends the thread. */
  dispose(): void;
}

/**
 * Opens a synchronous tokenizer, as evaluation tasks require.
 *
 * The tokenizers library is asynchronous, so a worker thread calls it while this thread waits, about 0.25 ms per call.
 *
 * @param directory folder that `tokenizer` was loaded from
 * @throws TokenizerError, also from its methods for text that cannot be encoded
 */
export async function openTextTokenizer(
  directory: string,
  tokenizer: Tokenizer,
): Promise<DisposableTokenizer> {
  const { port1: port, port2 } = new MessageChannel();
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const workerData: TokenizerWorkerData = { directory, port: port2, answered };
  const worker = new Worker(workerFile(), { workerData, transferList: [port2] });
  await Promise.race([once(port, 'message'), once(worker, 'exit')]);
  port.unref();
  worker.unref();

  const call = (task: TokenizerTask): TokenizerAnswer => {
    Atomics.store(answered, 0, 0);
    port.postMessage(task);
    // A late notification of the previous call may wake this thread too early.
    while (Atomics.load(answered, 0) === 0) Atomics.wait(answered, 0, 0);
    const answer: TokenizerAnswer = receiveMessageOnPort(port)!.message;
    if ('error' in answer) throw new TokenizerError((answer.error as Error).message);
    return answer;
  };
  return {
    bosId: tokenizer.bosTokenId,
    eosId: tokenizer.eosTokenId,
    encode: withRecent((text) => (call(text) as { ids: number[] }).ids),
    encodeRendered: withRecent((text) => (call({ rendered: text }) as { ids: number[] }).ids),
    decode: (ids) => (ids.length === 0 ? '' : (call([...ids]) as { text: string }).text),
    dispose: () => {
      port.close();
      void worker.terminate();
    },
  };
}

/** Remembers the ids of the last texts. */
function withRecent(encode: (text: string) => number[]): (text: string) => number[] {
  const recent = new Map<string, number[]>();
  return (text) => {
    const ids = recent.get(text) ?? encode(text);
    recent.delete(text);
    recent.set(text, ids);
    if (recent.size > RECENT_TEXTS) recent.delete(recent.keys().next().value!);
    return [...ids];
  };
}

function workerFile(): string {
  const found = findWorker('tokenizer-worker.js', import.meta.url);
  if (found) return found;
  throw new TokenizerError('tokenizer-worker.js is missing (bundled away?); install the package unbundled');
}
