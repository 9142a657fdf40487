/** Implements {@link LanguageModel} over a server that speaks OpenAI's chat API: it generates, and does not score. */
import type { ChatMessage, Generation, LanguageModel, TextTokenizer } from '@meap/evals';
import { fingerprintOf } from './fingerprint.ts';

/** Options of {@link openRemoteChatModel}. */
export interface RemoteChatOptions {
  /** Address of the API up to its version, such as `http://127.0.0.1:8000/v1`. */
  endpoint: string;
  /** Name of the model there. */
  model: string;
  /** Sent as a bearer token. */
  apiKey?: string;
}

/** A chat model behind a server. */
export type RemoteChatModel = Required<Pick<LanguageModel, 'generate' | 'chat'>> &
  Omit<LanguageModel, 'score' | 'generate' | 'chat' | 'attention'> & {
    /** Does nothing: the model is elsewhere. */
    dispose(): void;
  };

/** Requests at once; servers batch them. */
const CONCURRENCY = 8;

const PATH = 'chat/completions';

/**
 * Opens a chat model of a server, which renders conversations by itself: a prompt is the JSON of its messages, as in
 * lm-evaluation-harness. The length of its context is not known (`Number.MAX_SAFE_INTEGER`); a server refuses what is too
 * long.
 *
 * @throws EndpointError for a wrong address; from `generate` for a server that cannot be reached or refuses
 */
export async function openRemoteChatModel(options: RemoteChatOptions): Promise<RemoteChatModel> {
  const { endpoint: url, model, apiKey } = options;
  // Loaded only here: most programs need no server.
  const { Endpoint, readChatReply } = await import('@meap/evals');
  const endpoint = new Endpoint({ url, apiKey, concurrency: CONCURRENCY }, 'endpoint');
  return {
    name: model,
    fingerprint: await fingerprintOf([], { endpoint: endpoint.address, model, api: 'chat' }),
    contextLength: Number.MAX_SAFE_INTEGER,
    tokenizer: characterTriples,
    chat: { render: (messages) => JSON.stringify(messages), encode: characterTriples.encode },
    generate: (requests, { signal } = {}) =>
      Promise.all(
        requests.map(async ({ prompt, maxNewTokens, stop, temperature = 0, seed }): Promise<Generation> => {
          const messages: ChatMessage[] = JSON.parse(characterTriples.decode(prompt));
          const { content, finish } = await endpoint.send({
            path: PATH,
            body: {
              ...{ model, messages, max_tokens: maxNewTokens, temperature },
              ...(stop && stop.length > 0 && { stop }),
              ...(temperature > 0 && { seed }),
            },
            expected: 'choices[0].message',
            read: readChatReply,
            signal,
          });
          const ids = characterTriples.encode(content);
          return { text: content, ids, finish: finish === 'length' ? 'length' : 'stop' };
        }),
      ),
    dispose() {},
  };
}

/** Values of a UTF-16 unit, and none. */
const BASE = 65_537;

/** Three UTF-16 units an id: about a token, without knowing the tokenizer of the server. */
const characterTriples: TextTokenizer = {
  encode(text) {
    const ids: number[] = [];
    for (let at = 0; at < text.length; at += 3) {
      let id = 0;
      for (let i = Math.min(at + 3, text.length) - 1; i >= at; i--) id = id * BASE + text.charCodeAt(i) + 1;
      ids.push(id);
    }
    return ids;
  },
  decode(ids) {
    const units: string[] = [];
    for (const id of ids) {
      for (let rest = id; rest > 0; rest = Math.floor(rest / BASE)) {
        units.push(String.fromCharCode((rest % BASE) - 1));
      }
    }
    return units.join('');
  },
};
