import { requireInteger, SftError } from './error.ts';

/**
 * Layout of original and masked copy.
 *
 * - `packed-isolated`: one row with two segments, each with its own attention and positions.
 * - `separate-rows`: two rows (the authors' code). Same loss as `packed-isolated`.
 * - `concatenated`: one causal sequence in which the copy sees the original (the paper, §3, read literally).
 */
export type SftLayout = 'packed-isolated' | 'separate-rows' | 'concatenated';

/**
 * Targets with loss in an answer over the threshold.
 *
 * - `union`: all answer tokens and EOS of the original, masked tokens of the copy (the paper's U_q ∪ U_m).
 * - `masked-only`: only masked tokens of the copy (the paper's text). EOS then has no loss.
 */
export type SftLoss = 'union' | 'masked-only';

/** Rules that turn samples into rows, independent of tokenizer and model. */
export interface SftRules {
  layout: SftLayout;
  loss: SftLoss;
  /** New masks every `epoch`, or `static` masks. */
  refresh: 'epoch' | 'static';
  /** Whether a turn follows the whole conversation before it, or only the system prompt. */
  turns: 'with-history' | 'separate';
  /** Share P of an answer's tokens to mask, at least 0 and less than 1; 0 is plain next-token prediction. */
  ratio: number;
  /** Longer answers are duplicated, all others are trained on once; an integer ≥ 0. */
  threshold: number;
  /** Unit of the threshold: answer `tokens` without EOS and special tokens, or `characters`. */
  thresholdUnit: 'tokens' | 'characters';
}

/** Options of `createDuplicator`; rules default to `sftPresets.default`. */
export interface SftOptions extends Partial<SftRules> {
  /** Id that replaces a masked token; the model needs an embedding for it, and no sample may contain it. */
  maskId: number;
  /** Ids that are never masked and do not count as answer tokens, such as EOS and end of turn. */
  specialIds: Iterable<number>;
  /** Maximum tokens of a sequence, including its last target; at least 2 (the paper: 4096). */
  maxLength: number;
  /** Seed of the run, 0 to 2^53 − 1; default 0. */
  seed?: number;
  /** Roles whose trainable segments have loss; default `assistant`. */
  lossRoles?: Iterable<string>;
  /**
   * Last target of a truncated answer, usually EOS; by default the real next token, as in the authors' labels.
   *
   * EOS would teach the model to stop in the middle of an answer.
   */
  eosIdAfterCut?: number;
}

const DEFAULT: Readonly<SftRules> = Object.freeze({
  layout: 'packed-isolated',
  loss: 'union',
  refresh: 'epoch',
  turns: 'with-history',
  ratio: 0.1,
  threshold: 50,
  thresholdUnit: 'tokens',
});

/** Rule sets by name: the defaults, and the behaviour of the authors' code. */
export const sftPresets: { readonly default: Readonly<SftRules>; readonly reference: Readonly<SftRules> } = {
  default: DEFAULT,
  reference: Object.freeze({ ...DEFAULT, layout: 'separate-rows', refresh: 'static', turns: 'separate' }),
};

/** Options with all defaults resolved. */
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

/** Resolves defaults and checks every option. */
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
