/** Converts values of unknown type, written by other programs, to types that the page can display. */
import { number } from './series.ts';
import type { BatchPiece, BatchRow, RecentBatch } from './shared/protocol.ts';

const KINDS: readonly unknown[] = ['plain', 'masked', 'prompt'] satisfies BatchPiece['kind'][];

/** Returns a string unchanged, an empty string for null or undefined, and JSON for other values. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  try {
    return JSON.stringify(value);
  } catch {
    // JSON.stringify overflows the stack for extreme nesting.
    return '…';
  }
}

/** Returns the valid rows of `batch.json`; null if it has no rows. */
export function readBatch(batch: Fields | undefined): RecentBatch | null {
  if (!batch || !Array.isArray(batch.rows)) return null;
  return { step: number(batch.step) ?? 0, rows: batch.rows.filter(isFields).map(readRow) };
}

type Fields = Record<string, unknown>;

function readRow({ numTokens, numMasked, pieces, isCut }: Fields): BatchRow {
  return {
    numTokens: number(numTokens) ?? 0,
    numMasked: number(numMasked) ?? 0,
    pieces: Array.isArray(pieces) ? pieces.filter(isFields).map(readPiece) : [],
    ...(isCut === true && { isCut }),
  };
}

function readPiece({ text, kind, part }: Fields): BatchPiece {
  return {
    text: textOf(text),
    kind: KINDS.includes(kind) ? (kind as BatchPiece['kind']) : 'plain',
    ...(part !== undefined && part !== null && { part: textOf(part) }),
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
