/** Requests of many items, planned into batches for an engine, answered from a store or by the model. */
import { EvalsError } from './error.ts';
import type { GenerateRequest, Generation, LanguageModel, Score, ScoreRequest } from './language-model.ts';
import type { ItemRequests } from './task.ts';

/** What a model answered: to a score request a {@link Score}, to a generate request a {@link Generation}. */
export type Answer = Score | Generation;

/** Remembers answers, so that an evaluation that was interrupted goes on where it stopped. */
export interface AnswerStore {
  /** Answers by key, undefined where there is none, in the order of the keys. */
  get(keys: readonly string[]): Promise<readonly (Answer | undefined)[]>;
  /** Keeps answers. Done when they outlive the process; all of one call or none, so that batches stay whole. */
  put(entries: readonly { readonly key: string; readonly answer: Answer }[]): Promise<void>;
}

/** Requests of one kind with the names of their answers in a store. */
export type KeyedRequests = ItemRequests & { readonly keys: readonly string[] };

/** Tokens of a call to the model: enough to fill its batches, few enough that little is lost when it is stopped. */
const BATCH_TOKENS = 2 ** 15;

/**
 * Names the answers to requests: each name is the JSON of what the answer depends on, the model's fingerprint, the kind
 * and the request.
 *
 * As long as the request; a store may keep a hash of it.
 */
export function withKeys(fingerprint: string, ask: ItemRequests): KeyedRequests {
  if (ask.kind === 'score') {
    const key = ({ context, continuation }: ScoreRequest) =>
      JSON.stringify([fingerprint, 'score', context, continuation]);
    return { ...ask, keys: ask.requests.map(key) };
  }
  const key = ({ prompt, maxNewTokens, stop = [], temperature = 0, seed }: GenerateRequest) =>
    // The seed of a greedy answer changes nothing.
    JSON.stringify([
      fingerprint,
      'generate',
      prompt,
      maxNewTokens,
      stop,
      temperature,
      temperature > 0 ? (seed ?? null) : null,
    ]);
  return { ...ask, keys: ask.requests.map(key) };
}

/** Tokens a request makes the model read or write, at most. */
export function numTokensOf(request: ScoreRequest | GenerateRequest): number {
  return 'context' in request
    ? request.context.length + request.continuation.length
    : request.prompt.length + request.maxNewTokens;
}

/**
 * All requests of some items, each once, longest first; requests with the same context stay together.
 *
 * Longest first makes batches of like lengths, and shows at once whether the longest fit into memory. The plan depends
 * on the requests alone, never on what a store holds: a run that goes on after an interruption asks for the very
 * batches that it had not asked yet, so its answers are those of a run that was never stopped, to the last bit.
 */
export function planBatches(asked: readonly KeyedRequests[]): KeyedRequests[] {
  return (['score', 'generate'] as const).flatMap((kind) => {
    const groups = groupByContext(asked.filter((ask) => ask.kind === kind));
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

/** Each different request once, in groups of the same context, in the order in which contexts first come. */
function groupByContext(asked: readonly KeyedRequests[]): Entry[][] {
  const groups = new Map<string, Map<string, Entry>>();
  for (const { keys, requests } of asked) {
    for (const [i, request] of requests.entries()) {
      const context = JSON.stringify('context' in request ? request.context : request.prompt);
      const group = groups.get(context) ?? new Map<string, Entry>();
      groups.set(context, group.set(keys[i], { key: keys[i], request }));
    }
  }
  return Array.from(groups.values(), (group) => [...group.values()]);
}

/** A context that is shared is read once. */
function numTokensOfGroup(group: readonly Entry[]): number {
  const all = group.reduce((sum, { request }) => sum + numTokensOf(request), 0);
  const [{ request }] = group;
  return 'context' in request ? all - (group.length - 1) * request.context.length : all;
}

/** Answers of a batch by key, and how many of them were in the store. */
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
    throw new EvalsError(`${model.name}: the task needs the method ${kind}, which the model does not have`);
  }
  const got: readonly Answer[] =
    kind === 'score'
      ? await model.score!(
          missing.map((index) => requests[index]),
          { signal },
        )
      : await model.generate!(
          missing.map((index) => requests[index]),
          { signal },
        );
  requireAnswers(kind, got, missing.length);
  await store?.put(missing.map((index, place) => ({ key: keys[index], answer: got[place] })));
  let numTokens = 0;
  for (const [place, index] of missing.entries()) {
    const reply = got[place];
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
      `${kind}: the model gave ${got.length} answers, expected ${expected}, one per request`,
    );
  }
  const broken = got.find((reply) => 'logLikelihood' in reply && Number.isNaN(reply.logLikelihood));
  if (broken !== undefined) {
    throw new EvalsError(
      `${kind}: a log-likelihood is not a number, expected a finite one; the model's weights may hold NaN`,
    );
  }
}
