import { requireInteger, SftError } from './error.ts';

/**
 * Where the masked copy goes.
 *
 * - `packed-isolated`: original and copy in one row, each a segment with attention and positions of its own.
 * - `separate-rows`: original and copy are two rows (the authors' code). Same loss as `packed-isolated`.
 * - `concatenated`: one causal sequence in which the copy sees the original (the paper, §3, taken literally).
 */
export type SftLayout = 'packed-isolated' | 'separate-rows' | 'concatenated';

/**
 * What is learned from an answer over the threshold.
 *
 * - `union`: every answer token and EOS of the original, masked tokens of the copy (the paper's U_q ∪ U_m).
 * - `masked-only`: masked tokens of the copy alone (the paper's text). EOS is then not learned.
 */
export type SftLoss = 'union' | 'masked-only';

/** What decides how rows are made from samples, apart from the tokenizer and the model. */
export interface SftRules {
  layout: SftLayout;
  loss: SftLoss;
  /** New masks every `epoch`, or `static` ones, drawn once. */
  refresh: 'epoch' | 'static';
  /** Whether a turn has the conversation before it, or is a sample of its own after the system prompt. */
  turns: 'with-history' | 'separate';
  /** Share P of an answer's tokens to mask, at least 0 and less than 1; 0 is plain next-token prediction. */
  ratio: number;
  /** An answer longer than this is duplicated, any other is learned as usual; an integer ≥ 0. */
  threshold: number;
  /** What the threshold counts: answer `tokens` without EOS and special ones, or `characters`. */
  thresholdUnit: 'tokens' | 'characters';
}

/** Options of `createDuplicator`; what is absent comes from `sftPresets.default`. */
export interface SftOptions extends Partial<SftRules> {
  /** Id that replaces a masked token; the model needs an embedding for it, no sample may contain it. */
  maskId: number;
  /** Ids that are never masked nor counted as answer tokens: EOS, end of turn and the like. */
  specialIds: Iterable<number>;
  /** Most tokens of a sequence, its last target included, at least 2 (the paper: 4096). */
  maxLength: number;
  /** Seed of the run, 0 to 2^53 − 1; 0 when absent. */
  seed?: number;
  /** Roles whose trainable segments are learned; `assistant` when absent. */
  lossRoles?: Iterable<string>;
  /**
   * Last target of an answer that was cut, usually EOS; when absent, the token that really follows.
   *
   * The real one is what the authors' labels hold there. EOS would teach to stop in the middle of an answer.
   */
  eosIdAfterCut?: number;
}

/** Rule sets by name: ours, and the behaviour of the authors' code. */
export const sftPresets: { readonly default: Readonly<SftRules>; readonly reference: Readonly<SftRules> } = {
  default: Object.freeze({
    layout: 'packed-isolated',
    loss: 'union',
    refresh: 'epoch',
    turns: 'with-history',
    ratio: 0.1,
    threshold: 50,
    thresholdUnit: 'tokens',
  }),
  reference: Object.freeze({
    layout: 'separate-rows',
    loss: 'union',
    refresh: 'static',
    turns: 'separate',
    ratio: 0.1,
    threshold: 50,
    thresholdUnit: 'tokens',
  }),
};

/** Options with every default filled in. */
export interface ResolvedOptions extends SftRules {
  maskId: number;
  specialIds: ReadonlySet<number>;
  maxLength: number;
  seed: number;
  lossRoles: ReadonlySet<string>;
  eosIdAfterCut: number | undefined;
}

export const MAX_ID = 2 ** 31 - 1;
export const MAX_UINT32 = 2 ** 32 - 1;

const WHERE = 'createDuplicator';

const CHOICES = {
  layout: ['packed-isolated', 'separate-rows', 'concatenated'],
  loss: ['union', 'masked-only'],
  refresh: ['epoch', 'static'],
  turns: ['with-history', 'separate'],
  thresholdUnit: ['tokens', 'characters'],
} as const;

/** Fills in defaults and checks every option. */
export function resolveOptions(options: SftOptions): ResolvedOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const resolved = {
    seed: 0,
    eosIdAfterCut: undefined,
    ...sftPresets.default,
    ...(Object.fromEntries(given) as unknown as SftOptions),
    specialIds: new Set(options.specialIds),
    lossRoles: new Set(options.lossRoles ?? ['assistant']),
  };
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = resolved[name as keyof typeof CHOICES];
    if (!(allowed as readonly string[]).includes(value)) {
      throw new SftError(`${WHERE}: unknown ${name}, got ${value}, expected one of ${allowed.join(', ')}`);
    }
  }
  const { ratio, eosIdAfterCut } = resolved;
  if (!(ratio >= 0 && ratio < 1)) {
    throw new SftError(
      `${WHERE}: ratio is out of range, got ${ratio}, expected a share of the answer's tokens, at least 0 and ` +
        'less than 1 (0.1 masks 10 %, 0 is plain next-token prediction)',
    );
  }
  requireInteger(WHERE, 'threshold', resolved.threshold, 0, Number.MAX_SAFE_INTEGER);
  requireInteger(WHERE, 'maskId', resolved.maskId, 0, MAX_ID);
  requireInteger(WHERE, 'maxLength', resolved.maxLength, 2, MAX_ID);
  requireInteger(WHERE, 'seed', resolved.seed, 0, Number.MAX_SAFE_INTEGER);
  for (const id of resolved.specialIds) requireInteger(WHERE, 'an id of specialIds', id, 0, MAX_ID);
  if (eosIdAfterCut !== undefined) requireInteger(WHERE, 'eosIdAfterCut', eosIdAfterCut, 0, MAX_ID);
  if (eosIdAfterCut === resolved.maskId) {
    throw new SftError(`${WHERE}: eosIdAfterCut is the mask id, got ${eosIdAfterCut}, expected another id`);
  }
  if (resolved.lossRoles.size === 0) {
    throw new SftError(`${WHERE}: lossRoles is empty, expected at least one role, such as assistant`);
  }
  return resolved;
}
