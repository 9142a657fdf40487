/** Generates text for many requests in bounded memory. */
import type { GenerateRequest, Generation } from '@meap/evals';
import { type DecodedText, Decoder, type Llama } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import { yieldToEventLoop } from './yield-to-event-loop.ts';

export interface GenerateTextsOptions {
  /** Maximum bytes of all key/value caches; a single request may exceed it. */
  readonly cacheBytes: number;
  readonly signal?: AbortSignal;
}

/** Maximum number of texts in a batch; beyond, reading the weights no longer limits the speed. */
const MAX_TEXTS = 64;

interface Pending {
  readonly request: number;
  readonly text: DecodedText;
  readonly stop: readonly string[];
  /** Maximum length of its key/value cache. */
  readonly tokens: number;
}

/** Generates a text for each request; requests start as soon as memory permits. */
export async function generateTexts(
  model: Llama,
  tokenizer: Tokenizer,
  requests: readonly GenerateRequest[],
  { cacheBytes, signal }: GenerateTextsOptions,
): Promise<Generation[]> {
  const { num_hidden_layers, num_key_value_heads, head_dim } = model.config;
  const maxTokens = cacheBytes / (num_hidden_layers * 2 * num_key_value_heads * head_dim * 4);
  const answers: Generation[] = new Array(requests.length);
  const running = new Map<DecodedText, Pending>();
  const decoder = new Decoder(model);
  let next = 0;
  let held = 0;
  const admit = () => {
    for (; next < requests.length && running.size < MAX_TEXTS; next++) {
      const { prompt, maxNewTokens, stop = [], temperature, seed } = requests[next];
      const tokens = prompt.length + maxNewTokens;
      if (running.size > 0 && held + tokens > maxTokens) return;
      const text = decoder.start(prompt, { maxNewTokens, temperature, seed });
      if (text.finish) answers[next] = { text: '', ids: [], finish: text.finish };
      else {
        running.set(text, { request: next, text, stop, tokens });
        held += tokens;
      }
    }
  };
  const finishText = async ({ request, text, stop, tokens }: Pending) => {
    const found = await findStop(tokenizer, text.ids, stop);
    if (!found && !text.finish) return;
    decoder.stop(text);
    running.delete(text);
    held -= tokens;
    const whole = await decode(tokenizer, text.ids);
    const end = found ? Math.min(...stop.map((end) => indexOrEnd(whole, end))) : whole.length;
    const finish = found ? 'stop' : text.finish!;
    answers[request] = { text: whole.slice(0, end), ids: [...text.ids], finish };
  };
  try {
    for (admit(); running.size > 0; admit()) {
      await yieldToEventLoop(signal);
      const tokens = await decoder.step();
      await Promise.all(tokens.map(({ text }) => finishText(running.get(text)!)));
    }
    return answers;
  } finally {
    decoder.dispose();
  }
}

/** Whether the newest token completes a stop sequence. */
async function findStop(
  tokenizer: Tokenizer,
  ids: readonly number[],
  stop: readonly string[],
): Promise<boolean> {
  if (stop.length === 0) return false;
  // A token has at least one byte, which bounds the tokens of a stop sequence; a few more make its start decode as in the
  // whole text.
  const maxBytes = Math.max(...stop.map((text) => Buffer.byteLength(text)));
  const tail = await decode(tokenizer, ids.slice(-(maxBytes + 4)));
  return stop.some((text) => tail.includes(text));
}

function decode(tokenizer: Tokenizer, ids: readonly number[]): Promise<string> {
  return tokenizer.decode(ids, { skipSpecialTokens: true });
}

function indexOrEnd(text: string, part: string): number {
  const at = text.indexOf(part);
  return at < 0 ? text.length : at;
}
