/** Generation for many requests at once, in as much memory as it may take. */
import type { GenerateRequest, Generation } from '@meap/evals';
import { type DecodedText, Decoder, type Llama } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import { yieldToEventLoop } from './yield-to-event-loop.ts';

/** Options of {@link generateTexts}. */
export interface GenerateTextsOptions {
  /** Most bytes of keys and values that are held at once; one request is always answered. */
  readonly cacheBytes: number;
  readonly signal?: AbortSignal;
}

/** Most texts that grow together: enough that reading the weights for each token no longer counts. */
const MAX_TEXTS = 64;

interface Pending {
  readonly request: number;
  readonly text: DecodedText;
  readonly stop: readonly string[];
  /** Tokens that its keys and values may come to. */
  readonly tokens: number;
}

/** Answers in the order of the requests; a request begins as soon as another has made room. */
export async function generateTexts(
  model: Llama,
  tokenizer: Tokenizer,
  requests: readonly GenerateRequest[],
  { cacheBytes, signal }: GenerateTextsOptions,
): Promise<Generation[]> {
  const { num_hidden_layers, num_key_value_heads, head_dim } = model.config;
  const room = cacheBytes / (num_hidden_layers * 2 * num_key_value_heads * head_dim * 4);
  const answers: Generation[] = new Array(requests.length);
  const running = new Map<DecodedText, Pending>();
  const decoder = new Decoder(model);
  let next = 0;
  let held = 0;
  const admit = () => {
    for (; next < requests.length && running.size < MAX_TEXTS; next++) {
      const { prompt, maxNewTokens, stop = [], temperature, seed } = requests[next];
      const tokens = prompt.length + maxNewTokens;
      if (running.size > 0 && held + tokens > room) return;
      const text = decoder.start(prompt, { maxNewTokens, temperature, seed });
      if (text.finish) answers[next] = { text: '', ids: [], finish: text.finish };
      else {
        running.set(text, { request: next, text, stop, tokens });
        held += tokens;
      }
    }
  };
  const settle = async ({ request, text, stop, tokens }: Pending) => {
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
      await Promise.all(tokens.map(({ text }) => settle(running.get(text)!)));
    }
    return answers;
  } finally {
    decoder.dispose();
  }
}

/** Whether the newest token completed one of the texts that end an answer. */
async function findStop(
  tokenizer: Tokenizer,
  ids: readonly number[],
  stop: readonly string[],
): Promise<boolean> {
  if (stop.length === 0) return false;
  // A token has a byte at least, so one that completes a text stands this close behind its beginning; a few more let
  // the beginning be decoded as in the whole.
  const mostBytes = Math.max(...stop.map((text) => Buffer.byteLength(text)));
  const tail = await decode(tokenizer, ids.slice(-(mostBytes + 4)));
  return stop.some((text) => tail.includes(text));
}

function decode(tokenizer: Tokenizer, ids: readonly number[]): Promise<string> {
  return tokenizer.decode(ids, { skipSpecialTokens: true });
}

function indexOrEnd(text: string, part: string): number {
  const at = text.indexOf(part);
  return at < 0 ? text.length : at;
}
