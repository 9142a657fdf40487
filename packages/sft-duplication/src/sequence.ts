import { SftError } from './error.ts';
import { MAX_ID, type ResolvedOptions } from './options.ts';
import { type SftSample, TokenKind } from './types.ts';

/** One answer including the token that ends it. Indices are into the sequence's tokens. */
export interface Answer {
  /** Index of the answer in its conversation: part of the key of its masks. */
  ordinal: number;
  start: number;
  end: number;
  /** First token that is neither EOS nor special. */
  firstToken: number;
  /** First token of the turn: the end of the previous answer. */
  turnStart: number;
  /** Answer tokens before truncation, without EOS and special tokens. */
  numTokens: number;
  /** Characters before truncation; NaN if unknown. */
  numCharacters: number;
}

/** The tokens of a sample, up to the end of its last answer, with their kinds. */
export interface Sequence {
  ids: Int32Array;
  /** `prompt`, `answer` or `special` of {@link TokenKind}; the latter two are trained on. */
  kinds: Uint8Array;
  answers: Answer[];
  /** Tokens of the leading system segments. */
  preambleLength: number;
}

/**
 * Joins the segments of a sample; tokens after the last answer are dropped, since they have no loss.
 *
 * An empty answer (only EOS) is not trained on: it would teach the model to answer nothing.
 *
 * @throws SftError for an invalid id or the mask id
 */
export function joinSegments({ segments }: SftSample, index: number, options: ResolvedOptions): Sequence {
  const { maskId, specialIds, lossRoles } = options;
  const total = segments.reduce((sum, { ids }) => sum + ids.length, 0);
  const ids = new Int32Array(total);
  const kinds = new Uint8Array(total).fill(TokenKind.prompt);
  const runs: Answer[] = [];
  let preambleLength = 0;
  let inPreamble = true;
  let answering: string | undefined;
  let filled = 0;
  for (const segment of segments) {
    const learned = segment.trainable && lossRoles.has(segment.role);
    const start = filled;
    for (let i = 0; i < segment.ids.length; i++) {
      const id = segment.ids[i];
      if (!Number.isInteger(id) || id < 0 || id > MAX_ID || id === maskId) {
        throw new SftError(describeBadId(id, i, segment.role, index, maskId));
      }
      if (learned) kinds[filled] = specialIds.has(id) ? TokenKind.special : TokenKind.answer;
      ids[filled++] = id;
    }
    inPreamble &&= segment.role === 'system' && !learned;
    if (inPreamble) preambleLength = filled;
    if (learned) {
      if (answering !== segment.role) runs.push(newRun(runs, start));
      const run = runs[runs.length - 1];
      run.end = filled;
      run.numCharacters += segment.numCharacters ?? Number.NaN;
    }
    answering = learned ? segment.role : undefined;
  }
  for (const run of runs) {
    run.firstToken = run.start;
    while (run.firstToken < run.end && kinds[run.firstToken] !== TokenKind.answer) run.firstToken++;
    if (run.firstToken === run.end) kinds.fill(TokenKind.prompt, run.start, run.end);
    for (let t = run.start; t < run.end; t++) if (kinds[t] === TokenKind.answer) run.numTokens++;
  }
  const answers = runs.filter((run) => run.numTokens > 0);
  const end = answers.at(-1)?.end ?? 0;
  return { ids: ids.subarray(0, end), kinds: kinds.subarray(0, end), answers, preambleLength };
}

function newRun(runs: readonly Answer[], start: number): Answer {
  const turnStart = runs.at(-1)?.end ?? 0;
  const ordinal = runs.length;
  return { ordinal, start, end: start, firstToken: start, turnStart, numTokens: 0, numCharacters: 0 };
}

/** One sequence per answer: the system prompt, the messages since the previous answer, the answer. */
export function separateTurns({ ids, kinds, answers, preambleLength }: Sequence): Sequence[] {
  return answers.map((answer) => {
    const { turnStart, end } = answer;
    const prefix = turnStart === 0 ? 0 : preambleLength;
    const length = prefix + end - turnStart;
    const turn: Sequence = {
      ids: new Int32Array(length),
      kinds: new Uint8Array(length),
      answers: [shifted(answer, prefix - turnStart)],
      preambleLength,
    };
    turn.ids.set(ids.subarray(0, prefix));
    turn.ids.set(ids.subarray(turnStart, end), prefix);
    turn.kinds.set(kinds.subarray(0, prefix));
    turn.kinds.set(kinds.subarray(turnStart, end), prefix);
    return turn;
  });
}

function shifted(answer: Answer, offset: number): Answer {
  return {
    ...answer,
    start: answer.start + offset,
    end: answer.end + offset,
    firstToken: answer.firstToken + offset,
    turnStart: 0,
  };
}

/**
 * Truncates a sequence to at most `window` tokens: `window − 1` inputs and one last target.
 *
 * Inside an answer the first `window − 1` tokens stay; the last target is `eosIdAfterCut`, or the next token, which has
 * loss and is never masked. Anywhere else the sequence ends with the last whole answer.
 *
 * @returns the sequence itself if it fits; undefined if the prompt leaves no room for an answer token
 */
export function cutToWindow(
  sequence: Sequence,
  window: number,
  eosIdAfterCut: number | undefined,
): Sequence | undefined {
  const { ids, kinds, preambleLength } = sequence;
  if (ids.length <= window) return sequence;
  const body = window - 1;
  // Nothing predicts an answer that consists of the first token only.
  const answers = sequence.answers.filter(({ firstToken, end }) => firstToken < body && end > 1);
  const last = answers.at(-1);
  if (!last) return undefined;
  if (last.end <= window) {
    return { ids: ids.subarray(0, last.end), kinds: kinds.subarray(0, last.end), answers, preambleLength };
  }
  const cutIds = ids.slice(0, window);
  const cutKinds = kinds.slice(0, window);
  if (eosIdAfterCut !== undefined) cutIds[body] = eosIdAfterCut;
  cutKinds[body] = TokenKind.special;
  answers[answers.length - 1] = { ...last, end: window };
  return { ids: cutIds, kinds: cutKinds, answers, preambleLength };
}

function describeBadId(id: number, position: number, role: string, index: number, maskId: number): string {
  const where = `sample ${index}, token ${position} of a ${role} segment`;
  return id === maskId
    ? `${where}: the mask id is inside the text, got ${id}, expected a tokenizer that never yields it; ` +
        'use a separate id for the mask, or encode user text without special tokens'
    : `${where}: not a token id, got ${id}, expected an integer from 0 to ${MAX_ID}`;
}
