/**
 * A backward pass that returns each parameter's gradient as soon as it is final, so that it can be sent to other ranks
 * while the rest is computed. Runs the same operations in the same order as `tf.variableGrads`.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from './types.ts';

type Tape = NonNullable<ReturnType<typeof tf.engine>['state']['activeTape']>;
type Node = Tape[number];

/**
 * Computes a loss and the gradients of the parameters it reaches.
 *
 * @param onGradient takes ownership of each gradient, in reverse order of use; awaited before the pass continues
 * @returns the loss; the caller disposes of it
 */
export async function backward(
  loss: () => tf.Scalar,
  parameters: Parameters,
  onGradient: (name: string, gradient: tf.Tensor) => void | Promise<void>,
): Promise<tf.Scalar> {
  const { value, tape } = record(loss);
  const names = new Map([...parameters].map(([name, variable]) => [variable.id, name]));
  const nodes = between(tape, new Set(names.keys()), value);
  const usesLeft = new Map<number, number>();
  for (const { inputs } of nodes) {
    for (const { id } of inputs) usesLeft.set(id, (usesLeft.get(id) ?? 0) + 1);
  }
  const gradients = new Gradients();
  gradients.add(value.id, tf.onesLike(value));
  try {
    for (const { node, inputs } of nodes.reverse()) {
      const received = node.outputs.map(({ id }) => gradients.get(id));
      const passedOn = tf.tidy(() => {
        // TensorFlow.js substitutes zeros for an output without a gradient.
        const byInput = node.gradient!(received as tf.Tensor[]);
        return inputs.map(({ key }) => byInput[key]());
      });
      for (const [i, { id }] of inputs.entries()) gradients.add(id, passedOn[i]);
      for (const { id } of node.outputs) gradients.drop(id);
      for (const { id } of inputs) {
        usesLeft.set(id, usesLeft.get(id)! - 1);
        const name = names.get(id);
        if (name !== undefined && usesLeft.get(id) === 0) await onGradient(name, gradients.take(id));
      }
    }
    return value;
  } catch (error) {
    value.dispose();
    throw error;
  } finally {
    gradients.dispose();
    for (const { saved } of tape) tf.dispose(saved ?? []);
  }
}

/** Runs the forward pass on a separate tape. */
function record(loss: () => tf.Scalar): { value: tf.Scalar; tape: Tape } {
  const { state } = tf.engine();
  if (state.gradientDepth > 0) throw new Error('backward: called inside another gradient');
  state.activeTape = [];
  state.gradientDepth++;
  try {
    const value = tf.tidy(loss);
    return { value, tape: state.activeTape };
  } finally {
    state.gradientDepth--;
    // Detached, so that operations of others while this pass waits are not recorded.
    state.activeTape = null as unknown as Tape;
  }
}

/** A node with the inputs that depend on a parameter. */
interface Step {
  node: Node;
  inputs: { key: string; id: number }[];
}

/** Returns the nodes on a path from a parameter to the loss, in the order of the forward pass. */
function between(tape: Tape, parameters: ReadonlySet<number>, value: tf.Tensor): Step[] {
  const depends = new Set(parameters);
  const steps: Step[] = [];
  for (const node of tape) {
    const inputs = Object.entries(node.inputs).flatMap(([key, { id }]) =>
      depends.has(id) ? [{ key, id }] : [],
    );
    if (inputs.length === 0) continue;
    for (const { id } of node.outputs) depends.add(id);
    steps.push({ node, inputs });
  }
  const leads = new Set([value.id]);
  return steps
    .reverse()
    .filter(({ node, inputs }) => {
      if (!node.outputs.some(({ id }) => leads.has(id))) return false;
      for (const { id } of inputs) leads.add(id);
      return true;
    })
    .reverse();
}

/** Gradients by tensor id. Ids may share a gradient; it is freed with the last of them. */
class Gradients {
  readonly #byId = new Map<number, tf.Tensor>();
  readonly #holders = new Map<tf.Tensor, number>();

  get(id: number): tf.Tensor | null {
    return this.#byId.get(id) ?? null;
  }

  /** Adds a gradient and takes ownership. */
  add(id: number, gradient: tf.Tensor): void {
    const earlier = this.#byId.get(id);
    this.#hold(gradient);
    if (!earlier) {
      this.#byId.set(id, gradient);
      return;
    }
    const sum = tf.add(earlier, gradient);
    this.#hold(sum);
    this.#release(earlier);
    this.#release(gradient);
    this.#byId.set(id, sum);
  }

  drop(id: number): void {
    const gradient = this.#byId.get(id);
    if (!gradient) return;
    this.#byId.delete(id);
    this.#release(gradient);
  }

  /** Removes a gradient and returns it, or a clone if other ids share it. */
  take(id: number): tf.Tensor {
    const gradient = this.#byId.get(id)!;
    this.#byId.delete(id);
    if (this.#holders.get(gradient) === 1) {
      this.#holders.delete(gradient);
      return gradient;
    }
    const own = gradient.clone();
    this.#release(gradient);
    return own;
  }

  dispose(): void {
    tf.dispose([...this.#holders.keys()]);
  }

  #hold(gradient: tf.Tensor): void {
    this.#holders.set(gradient, (this.#holders.get(gradient) ?? 0) + 1);
  }

  #release(gradient: tf.Tensor): void {
    const holders = this.#holders.get(gradient)! - 1;
    if (holders > 0) this.#holders.set(gradient, holders);
    else {
      this.#holders.delete(gradient);
      gradient.dispose();
    }
  }
}
