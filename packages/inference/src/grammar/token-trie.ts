/** The tokens of a vocabulary by their bytes. */
import type { Automaton, State } from './automaton.ts';

/** Limit of the threads that a mask follows, which bounds the delay of other texts; usual masks follow a few thousand. */
const MAX_WORK = 1_000_000;

/** Prefixes of tokens in the order of their bytes, each before its continuations. */
export class TokenTrie {
  readonly #bytes: Uint8Array;
  readonly #depths: Uint16Array;
  /** The node after all continuations of a node. */
  readonly #ends: Int32Array;
  /** Where the tokens whose bytes end at a node start in `#ids`; they end where those of the next node start. */
  readonly #starts: Int32Array;
  readonly #ids: Int32Array;
  readonly #numWords: number;

  /** @param bytesOf bytes by token id; tokens without bytes, such as special ones, are never allowed */
  constructor(bytesOf: readonly Uint8Array[]) {
    const ids = [...bytesOf.keys()].filter((id) => bytesOf[id].length > 0 && bytesOf[id].length < 2 ** 16);
    // Strings of one character a byte are compared faster than bytes.
    const keys = bytesOf.map((bytes) =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'),
    );
    ids.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0));
    const bytes: number[] = [];
    const depths: number[] = [];
    const starts: number[] = [];
    let previous = new Uint8Array();
    for (const [order, id] of ids.entries()) {
      const current = bytesOf[id];
      let depth = 0;
      while (depth < previous.length && previous[depth] === current[depth]) depth++;
      for (; depth < current.length; depth++) {
        bytes.push(current[depth]);
        depths.push(depth);
        starts.push(order);
      }
      previous = current as Uint8Array<ArrayBuffer>;
    }
    this.#bytes = Uint8Array.from(bytes);
    this.#depths = Uint16Array.from(depths);
    this.#ends = new Int32Array(bytes.length);
    const open: number[] = [];
    for (const [node, depth] of [...depths, 0].entries()) {
      while (open.length > depth) this.#ends[open.pop()!] = node;
      open.push(node);
    }
    this.#starts = Int32Array.from([...starts, ids.length]);
    this.#ids = Int32Array.from(ids);
    this.#numWords = Math.ceil(bytesOf.length / 32);
  }

  /** Returns the tokens that may follow a state: bit `id & 31` of word `id >> 5`. */
  mask(automaton: Automaton, state: State): Uint32Array {
    const mask = new Uint32Array(this.#numWords);
    const numNodes = this.#bytes.length;
    const allow = (node: number) => {
      for (let i = this.#starts[node]; i < this.#starts[node + 1]; i++) {
        const id = this.#ids[i];
        mask[id >> 5] |= 1 << (id & 31);
      }
    };
    // Single bytes first, so that some token is allowed whatever the rest costs.
    for (let node = 0; node < numNodes; node = this.#ends[node]) {
      if (automaton.step(state, this.#bytes[node])) allow(node);
    }
    const limit = automaton.work + MAX_WORK;
    const states = [state];
    for (let node = 0; node < numNodes; ) {
      const depth = this.#depths[node];
      const next = automaton.work > limit ? null : automaton.step(states[depth], this.#bytes[node]);
      if (!next) {
        node = this.#ends[node];
        continue;
      }
      allow(node);
      states[depth + 1] = next;
      node++;
    }
    return mask;
  }
}
