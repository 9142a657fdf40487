import { SftError } from './error.ts';
import { MAX_ID, type ResolvedOptions } from './options.ts';
import { type SftSample, TokenKind } from './types.ts';

/** A run of learned tokens: one answer with what ends it. Indices are into the sequence's tokens. */
export interface Answer {
  /** Number of the answer in its conversation, from 0: part of the key of its masks. */
  ordinal: number;
  start: number;
  end: number;
  /** First token that is neither EOS nor special. */
  firstToken: number;
  /** Where the tokens of this turn begin: the end of the answer before it. */
  turnStart: number;
  /** Answer tokens, before any cut; EOS and special ones are not counted. */
  numTokens: number;
  /** Characters, before any cut; NaN where a segment does not say. */
  numCharacters: number;
}

/** The tokens of a sample, up to the end of its last answer, with a kind for each. */
export interface Sequence {
  ids: Int32Array;
  /** `prompt`, `answer` or `special` of {@link TokenKind}; the latter two are learned. */
  kinds: Uint8Array;
  answers: Answer[];
  /** Tokens of the leading system segments. */
  preambleLength: number;
}

/**
 * Joins the segments of a sample; tokens after the last answer are left out, as nothing is learned from them.
 *
 * An answer without any token of its own (EOS alone) is not learned: it would teach silence.
 *
 * @throws SftError for an id that is no id, or is the mask id.
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

/** Each answer as a sequence of its own: the system prompt, what was said since the last answer, the answer. */
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
 * Cuts a sequence to at most `window` tokens: `window − 1` that are read and one last target.
 *
 * A cut inside an answer keeps the first `window − 1` tokens; the last target is `eosIdAfterCut`, or else the token
 * that follows, learned and never masked. A cut anywhere else ends the sequence with the last whole answer.
 *
 * @returns the sequence itself where it fits; undefined where the prompt leaves no place for an answer token.
 */
export function cutToWindow(
  sequence: Sequence,
  window: number,
  eosIdAfterCut: number | undefined,
): Sequence | undefined {
  const { ids, kinds, preambleLength } = sequence;
  if (ids.length <= window) return sequence;
  const body = window - 1;
  // An answer that is the first token and nothing else has nothing that predicts it.
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

function describeBadId(id: number, place: number, role: string, index: number, maskId: number): string {
  const where = `sample ${index}, token ${place} of a ${role} segment`;
  return id === maskId
    ? `${where}: the mask id is inside the text, got ${id}, expected a tokenizer that never yields it; ` +
        'take an id of its own for the mask, or encode user text without special tokens'
    : `${where}: not a token id, got ${id}, expected an integer from 0 to ${MAX_ID}`;
}
