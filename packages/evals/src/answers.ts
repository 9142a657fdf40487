/** Batches the requests of many items and answers them from a store or by the model. */
import { EvalsError } from './error.ts';
import type { GenerateRequest, Generation, LanguageModel, Score, ScoreRequest } from './language-model.ts';
import type { ItemRequests } from './task.ts';

/** The answer to a request: a {@link Score} or a {@link Generation}. */
export type Answer = Score | Generation;

/** Stores answers, so that an interrupted evaluation can continue; plain JSON. */
export interface AnswerStore<Value = Answer> {
  /** Answers in the order of the keys, undefined where there is none. */
  get(keys: readonly string[]): Promise<readonly (Value | undefined)[]>;
  /** Stores answers durably; all of one call or none, so that batches stay whole. */
  put(entries: readonly { readonly key: string; readonly answer: Value }[]): Promise<void>;
}

/** Returns the stored answers to some requests; computes and stores those that are missing. */
export async function storedAnswers<Value>(
  store: AnswerStore<Value> | undefined,
  requests: readonly { readonly key: string; readonly compute: () => Promise<Value> }[],
): Promise<Value[]> {
  const known = (await store?.get(requests.map(({ key }) => key))) ?? [];
  const answers: Value[] = [];
  const computed: { key: string; answer: Value }[] = [];
  for (const [i, { key, compute }] of requests.entries()) {
    const answer = known[i] ?? (await compute());
    if (known[i] === undefined) computed.push({ key, answer });
    answers.push(answer);
  }
  if (computed.length > 0) await store?.put(computed);
  return answers;
}

/** Requests of one kind with the keys of their answers in a store. */
export type KeyedRequests = ItemRequests & { readonly keys: readonly string[] };

/** Tokens of a call to the model: enough to fill its batches, few enough that an interruption loses little. */
const BATCH_TOKENS = 2 ** 15;

/**
 * Adds the keys of requests: the JSON of everything an answer depends on, namely the model's fingerprint, the kind and
 * the request. A store may hash it.
 */
export function withKeys(fingerprint: string, ask: ItemRequests): KeyedRequests {
  if (ask.kind === 'score') {
    const key = ({ context, continuation }: ScoreRequest) =>
      JSON.stringify([fingerprint, 'score', context, continuation]);
    return { ...ask, keys: ask.requests.map(key) };
  }
  const key = ({ prompt, maxNewTokens, stop = [], temperature = 0, seed }: GenerateRequest) => {
    // A greedy answer does not depend on the seed.
    const draw = temperature > 0 ? (seed ?? null) : null;
    return JSON.stringify([fingerprint, 'generate', prompt, maxNewTokens, stop, temperature, draw]);
  };
  return { ...ask, keys: ask.requests.map(key) };
}

/** Maximum number of tokens that the model reads or writes for a request. */
export function numTokensOf(request: ScoreRequest | GenerateRequest): number {
  return 'context' in request
    ? request.context.length + request.continuation.length
    : request.prompt.length + request.maxNewTokens;
}

/**
 * Batches the distinct requests of some items, longest first; requests with the same context stay together.
 *
 * Longest first gives batches of similar lengths, and shows early whether the longest fit into memory. The plan depends
 * on the requests only, not on the store: a resumed run sends exactly the missing batches, so its answers are bit-equal
 * to those of an uninterrupted run.
 */
export function planBatches(items: readonly KeyedRequests[]): KeyedRequests[] {
  return (['score', 'generate'] as const).flatMap((kind) => {
    const groups = groupByContext(items.filter((item) => item.kind === kind));
    const longestFirst = groups
      .map((group) => ({ group, longest: Math.max(...group.map(({ request }) => numTokensOf(request))) }))
      .sort((a, b) => b.longest - a.longest);
    const batches: { numTokens: number; entries: Entry[] }[] = [];
    for (const { group } of longestFirst) {
      const numTokens = numTokensOfGroup(group);
      const last = batches.at(-1);
      if (last !== undefined && last.numTokens + numTokens <= BATCH_TOKENS) {
        last.numTokens += numTokens;
        last.entries.push(...group);
      } else batches.push({ numTokens, entries: [...group] });
    }
    return batches.map(({ entries }) => {
      const [keys, requests] = [entries.map(({ key }) => key), entries.map(({ request }) => request)];
      return { kind, keys, requests } as KeyedRequests;
    });
  });
}

interface Entry {
  readonly key: string;
  readonly request: ScoreRequest | GenerateRequest;
}

/** Distinct requests in groups of the same context, in the order of the first occurrence of each context. */
function groupByContext(items: readonly KeyedRequests[]): Entry[][] {
  const groups = new Map<string, Map<string, Entry>>();
  for (const { keys, requests } of items) {
    for (const [i, request] of requests.entries()) {
      const context = JSON.stringify('context' in request ? request.context : request.prompt);
      const group = groups.get(context) ?? new Map<string, Entry>();
      groups.set(context, group.set(keys[i], { key: keys[i], request }));
    }
  }
  return Array.from(groups.values(), (group) => [...group.values()]);
}

/** Number of tokens of a group; a shared context counts once. */
function numTokensOfGroup(group: readonly Entry[]): number {
  const all = group.reduce((sum, { request }) => sum + numTokensOf(request), 0);
  const [{ request }] = group;
  return 'context' in request ? all - (group.length - 1) * request.context.length : all;
}

/** Answers a batch, by key; `numStored` of them come from the store. */
export async function answer(
  { kind, keys, requests }: KeyedRequests,
  model: LanguageModel,
  { store, signal }: { store?: AnswerStore; signal?: AbortSignal },
): Promise<{ answers: Map<string, Answer>; numStored: number; numTokens: number }> {
  const found = (await store?.get(keys)) ?? [];
  const answers = new Map<string, Answer>();
  const missing: number[] = [];
  for (const [index, key] of keys.entries()) {
    const known = found[index];
    if (known === undefined) missing.push(index);
    else answers.set(key, known);
  }
  if (missing.length === 0) return { answers, numStored: keys.length, numTokens: 0 };
  signal?.throwIfAborted();
  if (model[kind] === undefined) {
    throw new EvalsError(`${model.name}: the model lacks the method ${kind}, which the task needs`);
  }
  const unanswered = missing.map((index) => requests[index]);
  const got: readonly Answer[] =
    kind === 'score'
      ? await model.score!(unanswered as ScoreRequest[], { signal })
      : await model.generate!(unanswered as GenerateRequest[], { signal });
  requireAnswers(kind, got, missing.length);
  await store?.put(missing.map((index, i) => ({ key: keys[index], answer: got[i] })));
  let numTokens = 0;
  for (const [i, index] of missing.entries()) {
    const reply = got[i];
    answers.set(keys[index], reply);
    const request = requests[index];
    numTokens +=
      'ids' in reply ? (request as GenerateRequest).prompt.length + reply.ids.length : numTokensOf(request);
  }
  return { answers, numStored: keys.length - missing.length, numTokens };
}

function requireAnswers(kind: ItemRequests['kind'], got: readonly Answer[], expected: number): void {
  if (got.length !== expected) {
    throw new EvalsError(
      `${kind}: the model returned ${got.length} answers, expected ${expected}, one per request`,
    );
  }
  const broken = got.find((reply) => 'logLikelihood' in reply && Number.isNaN(reply.logLikelihood));
  if (broken !== undefined) {
    throw new EvalsError(
      `${kind}: got a log-likelihood of NaN, expected a number; the model's weights may contain NaN`,
    );
  }
}
