import { requireInteger, SftError } from './error.ts';
import { MAX_ID } from './options.ts';

const DEFAULT_WINDOW = 16_384;

/**
 * Plans which rows share a packed row: best-fit decreasing, within windows of consecutive rows.
 *
 * Rows are neither split nor dropped, and rows of different windows are not mixed. Every row goes to the packed row that
 * it leaves the least space in; the plan depends on the lengths only. The work is O(n log length) for n rows. Packed
 * rows are in the order of their longest members, so that long samples of shuffled data do not gather at the start;
 * members keep their order.
 *
 * Source: Ding et al., "Fewer truncations improve language modeling", ICML 2024.
 *
 * @param lengths positions of each row, from 0 to `length`; rows of 0 positions are dropped
 * @param options `length`: positions of a packed row; `window`: rows that are packed together, default 16,384
 * @returns the indices of the members of each packed row
 * @throws SftError if a row is longer than `length`
 */
export function planPacking(
  lengths: ArrayLike<number>,
  { length, window = DEFAULT_WINDOW }: { length: number; window?: number },
): Int32Array[] {
  requireInteger('planPacking', 'length', length, 1, MAX_ID);
  requireInteger('planPacking', 'window', window, 1, MAX_ID);
  for (let i = 0; i < lengths.length; i++) {
    if (!Number.isInteger(lengths[i]) || lengths[i] < 0 || lengths[i] > length) {
      throw new SftError(
        `planPacking: row ${i} does not fit, got ${lengths[i]} positions, expected 0 to ${length}; ` +
          'raise the length of packed rows or lower maxLength',
      );
    }
  }
  const plan: Int32Array[] = [];
  for (let start = 0; start < lengths.length; start += window) {
    const end = Math.min(start + window, lengths.length);
    for (const members of planWindow(lengths, start, end, length)) plan.push(members);
  }
  return plan;
}

function planWindow(lengths: ArrayLike<number>, start: number, end: number, length: number): Int32Array[] {
  const longestFirst: number[] = [];
  for (let row = start; row < end; row++) if (lengths[row] > 0) longestFirst.push(row);
  longestFirst.sort((a, b) => lengths[b] - lengths[a] || a - b);

  const packed: number[][] = [];
  const open = new OpenRows(length);
  for (const row of longestFirst) {
    const fit = open.takeTightest(lengths[row]);
    const members = fit?.members ?? [];
    if (!fit) packed.push(members);
    members.push(row);
    open.put({ members, space: (fit?.space ?? length) - lengths[row] });
  }
  packed.sort(([longestOfA], [longestOfB]) => longestOfA - longestOfB);
  return packed.map((members) => Int32Array.from(members).sort());
}

interface OpenRow {
  members: number[];
  space: number;
}

/** Packed rows by their remaining space; finds the tightest fit for a row in O(log length). */
class OpenRows {
  readonly #bySpace = new Map<number, OpenRow[]>();
  // A binary tree over spaces: leaf `#numLeaves + s` is set if there is a row with space s, a node if any leaf below is.
  readonly #tree: Uint8Array;
  readonly #numLeaves: number;

  constructor(length: number) {
    this.#numLeaves = 2 ** Math.ceil(Math.log2(length + 1));
    this.#tree = new Uint8Array(2 * this.#numLeaves);
  }

  put(row: OpenRow): void {
    if (row.space === 0) return;
    const rows = this.#bySpace.get(row.space);
    if (rows) rows.push(row);
    else this.#bySpace.set(row.space, [row]);
    for (let node = this.#numLeaves + row.space; node > 0 && !this.#tree[node]; node >>= 1) {
      this.#tree[node] = 1;
    }
  }

  takeTightest(size: number): OpenRow | undefined {
    let node = this.#numLeaves + size;
    // Up to the nearest non-empty subtree on the right, then down to its leftmost leaf.
    if (!this.#tree[node]) {
      while (node > 1 && (node & 1 || !this.#tree[node + 1])) node >>= 1;
      if (node <= 1) return undefined;
      node++;
      while (node < this.#numLeaves) node = this.#tree[2 * node] ? 2 * node : 2 * node + 1;
    }
    const rows = this.#bySpace.get(node - this.#numLeaves)!;
    const row = rows.pop()!;
    if (rows.length === 0) {
      this.#bySpace.delete(row.space);
      for (let at = node; at > 0 && !(at < this.#numLeaves && this.#hasChild(at)); at >>= 1) {
        this.#tree[at] = 0;
      }
    }
    return row;
  }

  #hasChild(node: number): boolean {
    return this.#tree[2 * node] === 1 || this.#tree[2 * node + 1] === 1;
  }
}
