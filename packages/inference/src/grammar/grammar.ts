/** Grammars over bytes: expressions with recursive rules, compiled to a table of nodes. */

/** What a text may be. */
export type Expression =
  /** A byte in one of the ranges, ends included. */
  | { readonly bytes: readonly (readonly [number, number])[] }
  | { readonly sequence: readonly Expression[] }
  | { readonly choice: readonly Expression[] }
  /** `max` may be infinite. */
  | { readonly repeat: Expression; readonly min: number; readonly max: number }
  | { readonly rule: string };

/** A compiled grammar; plain data, so that it can be sent to another process. */
export interface Grammar {
  /** Four numbers a node: {@link NODE}, then its operands. */
  readonly nodes: Int32Array;
  readonly start: number;
}

/** Kinds of nodes. */
export const NODE = {
  /** The text of a rule ends. */
  end: 0,
  /** Operands lo, hi, next: a byte from lo to hi, then next. */
  bytes: 1,
  /** Operands a, b: one of two nodes. */
  either: 2,
  /** Operands rule, next: the text of a rule, then next. */
  call: 3,
} as const;

/** Numbers of a node. */
export const NODE_SIZE = 4;

/** Limit of a grammar, in nodes. */
const MAX_NODES = 50_000;

/** A grammar that is too large, or has no text. */
export class GrammarError extends Error {
  override readonly name = 'GrammarError';
}

/** The bytes of a text. */
export function literal(text: string): Expression {
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => ({ bytes: [[byte, byte] as const] }));
  return { sequence: bytes };
}

export function sequence(...parts: readonly (Expression | string)[]): Expression {
  return { sequence: parts.map(expression) };
}

export function choice(...options: readonly (Expression | string)[]): Expression {
  return { choice: options.map(expression) };
}

export function repeat(of: Expression | string, min = 0, max = Number.POSITIVE_INFINITY): Expression {
  return { repeat: expression(of), min, max };
}

export function optional(of: Expression | string): Expression {
  return repeat(of, 0, 1);
}

function expression(of: Expression | string): Expression {
  return typeof of === 'string' ? literal(of) : of;
}

/**
 * Compiles a grammar.
 *
 * A rule must not call itself before its first byte.
 *
 * @throws GrammarError for one of more than 50,000 nodes, or without a finite text
 */
export function compileGrammar(start: Expression, rules: ReadonlyMap<string, Expression>): Grammar {
  const nodes: number[] = [];
  /** Calls of each rule, whose operand is set once the rule is built. */
  const calls = new Map<string, number[]>();
  const add = (...[kind, a = 0, b = 0, c = 0]: readonly number[]) => {
    const node = nodes.length / NODE_SIZE;
    if (node === MAX_NODES) {
      throw new GrammarError(
        `got more than ${MAX_NODES} nodes, expected fewer; lower its bounds or split it`,
      );
    }
    nodes.push(kind, a, b, c);
    return node;
  };
  const either = (options: readonly number[]) =>
    options.reduceRight((rest, option) => add(NODE.either, option, rest));
  /** Adds the nodes of an expression that is followed by a node; returns its first node. */
  const build = (expression: Expression, next: number): number => {
    if ('bytes' in expression) {
      return either(expression.bytes.map(([lo, hi]) => add(NODE.bytes, lo, hi, next)));
    }
    if ('sequence' in expression) return expression.sequence.reduceRight((at, part) => build(part, at), next);
    if ('choice' in expression) return either(expression.choice.map((option) => build(option, next)));
    if ('rule' in expression) {
      const call = add(NODE.call, 0, next);
      calls.set(expression.rule, [...(calls.get(expression.rule) ?? []), call]);
      return call;
    }
    const { repeat: body, min, max } = expression;
    let at = next;
    if (max === Number.POSITIVE_INFINITY) {
      at = add(NODE.either, 0, next);
      nodes[at * NODE_SIZE + 1] = build(body, at);
    } else for (let i = min; i < max; i++) at = add(NODE.either, build(body, at), next);
    for (let i = 0; i < min; i++) at = build(body, at);
    return at;
  };
  const end = add(NODE.end);
  const first = build(start, end);
  const built = new Map<string, number>();
  // A map visits entries that are added meanwhile: rules that only other rules call.
  for (const [name] of calls) built.set(name, build(rules.get(name)!, end));
  for (const [name, rule] of built) for (const call of calls.get(name)!) nodes[call * NODE_SIZE + 1] = rule;
  const grammar = { nodes: Int32Array.from(nodes), start: first };
  requireProgress(grammar, [...built.values()]);
  removeEndless(grammar);
  return grammar;
}

/** @throws GrammarError for a rule that calls itself before its first byte */
function requireProgress({ nodes }: Grammar, rules: readonly number[]): void {
  /** Rules that a rule calls before a byte; a rule that may be empty counts as passed. */
  const called = new Map(rules.map((rule) => [rule, new Set<number>()]));
  const empties = new Set<number>();
  const visit = (rule: number) => {
    const calls = called.get(rule)!;
    const pending = [rule];
    const seen = new Set(pending);
    const follow = (node: number) => {
      if (!seen.has(node)) pending.push(node);
      seen.add(node);
    };
    while (pending.length > 0) {
      const at = pending.pop()! * NODE_SIZE;
      if (nodes[at] === NODE.end) empties.add(rule);
      if (nodes[at] === NODE.either || (nodes[at] === NODE.call && empties.has(nodes[at + 1])))
        follow(nodes[at + 2]);
      if (nodes[at] === NODE.either) follow(nodes[at + 1]);
      if (nodes[at] === NODE.call) calls.add(nodes[at + 1]);
    }
  };
  for (let before = -1; before !== empties.size; ) {
    before = empties.size;
    for (const rule of rules) visit(rule);
  }
  // Rules that call none but passed ones are passed; what remains is a cycle.
  const open = new Map(called);
  for (let before = -1; before !== open.size; ) {
    before = open.size;
    for (const [rule, calls] of open) if (![...calls].some((call) => open.has(call))) open.delete(rule);
  }
  if (open.size > 0)
    throw new GrammarError('a $ref leads back to itself without a value between, expected one');
}

/**
 * Removes options that no finite text satisfies, so that every path can be completed.
 *
 * @throws GrammarError if nothing is left
 */
function removeEndless({ nodes, start }: Grammar): void {
  const finite = new Uint8Array(nodes.length / NODE_SIZE);
  const canEnd = (node: number) => {
    const [kind, a, b, c] = nodes.subarray(node * NODE_SIZE, (node + 1) * NODE_SIZE);
    if (kind === NODE.bytes) return finite[c];
    if (kind === NODE.either) return finite[a] | finite[b];
    return kind === NODE.call ? finite[a] & finite[b] : 1;
  };
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    for (let node = 0; node < finite.length; node++) {
      if (finite[node] || !canEnd(node)) continue;
      finite[node] = 1;
      isChanged = true;
    }
  }
  if (!finite[start]) {
    throw new GrammarError('no finite value satisfies it, expected one; make a recursive part optional');
  }
  for (let at = 0; at < nodes.length; at += NODE_SIZE) {
    if (nodes[at] !== NODE.either) continue;
    const [a, b] = nodes.subarray(at + 1, at + 3);
    if (!finite[a]) nodes[at + 1] = b;
    if (!finite[b]) nodes[at + 2] = a;
  }
}
