/**
 * Runs a grammar over bytes.
 *
 * A state is the set of all ways in which the bytes so far may continue: a node that takes the next byte, and the nodes to
 * return to. States and their transitions are computed when they are first needed and kept, so that texts of one grammar
 * share them.
 */
import { type Grammar, NODE, NODE_SIZE } from './grammar.ts';

/** A rule that has been called: where it returns to. */
interface Frame {
  readonly next: number;
  readonly caller: Frame | undefined;
  /** Frames called from here, by `next`. */
  readonly calls: Map<number, Frame>;
  readonly threads: Map<number, Thread>;
}

/** One way to continue. */
interface Thread {
  readonly id: number;
  /** A node of bytes. */
  readonly node: number;
  readonly frame: Frame;
}

/** What may follow some bytes. */
export interface State {
  readonly threads: readonly Thread[];
  /** Whether the text may end here. */
  readonly isComplete: boolean;
  /** The state after a byte; null where none follows, undefined where it is not known. */
  readonly next: (State | null | undefined)[];
}

/**
 * Ways that a state follows; of a grammar with more, the first are. The rest of the text is one of the grammar all the same,
 * since each way alone can be completed.
 */
const MAX_THREADS = 1024;
/** States after which all are forgotten: 2 KiB each. */
const MAX_STATES = 4096;
/** Calls and threads after which all are forgotten. */
const MAX_OBJECTS = 100_000;

export class Automaton {
  readonly #nodes: Int32Array;
  readonly #start: number;
  #states = new Map<string, State>();
  #bottom = frameOf(-1, undefined);
  #numObjects = 0;
  #nextId = 0;
  /** Threads followed so far, a measure of the time spent. */
  work = 0;

  constructor({ nodes, start }: Grammar) {
    this.#nodes = nodes;
    this.#start = start;
  }

  /** The state of an empty text. */
  start(): State {
    return this.#stateOf([[this.#start, this.#bottom]]);
  }

  /** The state after a byte; null if no text continues with it. */
  step(state: State, byte: number): State | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const nodes = this.#nodes;
    const reached: [number, Frame][] = [];
    for (const { node, frame } of state.threads) {
      const at = node * NODE_SIZE;
      if (byte >= nodes[at + 1] && byte <= nodes[at + 2]) reached.push([nodes[at + 3], frame]);
    }
    this.work += state.threads.length;
    const next = reached.length === 0 ? null : this.#stateOf(reached);
    state.next[byte] = next;
    return next;
  }

  /** Forgets all states, to free memory; texts go on from theirs. */
  forget(): void {
    this.#states = new Map();
    this.#bottom = frameOf(-1, undefined);
    this.#numObjects = 0;
  }

  /** The state of some nodes and all that follow without a byte. */
  #stateOf(pending: [number, Frame][]): State {
    if (this.#states.size >= MAX_STATES || this.#numObjects >= MAX_OBJECTS) this.forget();
    const nodes = this.#nodes;
    const threads: Thread[] = [];
    const seen = new Set<Thread>();
    let isComplete = false;
    pending.reverse();
    while (pending.length > 0 && threads.length < MAX_THREADS) {
      const [node, frame] = pending.pop()!;
      const thread = this.#thread(node, frame);
      if (seen.has(thread)) continue;
      seen.add(thread);
      const at = node * NODE_SIZE;
      switch (nodes[at]) {
        case NODE.bytes:
          threads.push(thread);
          break;
        case NODE.either:
          pending.push([nodes[at + 2], frame], [nodes[at + 1], frame]);
          break;
        case NODE.call: {
          // The last call of a rule returns to the rule's caller, so that lists do not grow the stack.
          const next = nodes[at + 2];
          const isLast = nodes[next * NODE_SIZE] === NODE.end && frame.caller !== undefined;
          pending.push([nodes[at + 1], isLast ? frame : this.#call(next, frame)]);
          break;
        }
        default:
          if (frame.caller) pending.push([frame.next, frame.caller]);
          else isComplete = true;
      }
    }
    this.work += seen.size;
    const key = `${isComplete ? '!' : ''}${threads.map(({ id }) => id).join()}`;
    const known = this.#states.get(key);
    if (known) return known;
    const state: State = { threads, isComplete, next: new Array(256) };
    this.#states.set(key, state);
    return state;
  }

  #call(next: number, caller: Frame): Frame {
    let frame = caller.calls.get(next);
    if (!frame) {
      frame = frameOf(next, caller);
      caller.calls.set(next, frame);
      this.#numObjects++;
    }
    return frame;
  }

  #thread(node: number, frame: Frame): Thread {
    let thread = frame.threads.get(node);
    if (!thread) {
      thread = { id: this.#nextId++, node, frame };
      frame.threads.set(node, thread);
      this.#numObjects++;
    }
    return thread;
  }
}

function frameOf(next: number, caller: Frame | undefined): Frame {
  return { next, caller, calls: new Map(), threads: new Map() };
}
