/** Validates `trainer/state.json`. */
import type { TrainerState } from './write-checkpoint.ts';

/** Returns a parsed state. @throws Error naming the invalid part and what was expected */
export function parseTrainerState(value: unknown): TrainerState {
  const state = fields('it', value);
  for (const key of ['step', 'tokens', 'optimizerStep', 'validatedStep', 'sampledStep'])
    count(key, state[key]);
  for (const key of ['stepTokens', 'probedStep']) if (state[key] !== undefined) count(key, state[key]);
  if (state.held !== undefined) {
    if (!Array.isArray(state.held)) throw refusal('held', state.held, 'an array of numbers');
    for (const [i, held] of state.held.entries()) count(`held.${i}`, held);
  }
  if (state.stopReason !== undefined && typeof state.stopReason !== 'string') {
    throw refusal('stopReason', state.stopReason, 'a string');
  }
  const guard = fields('guard', state.guard);
  for (const key of ['losses', 'gradNorms']) {
    const window = guard[key];
    if (!Array.isArray(window) || !window.every(Number.isFinite)) {
      throw refusal(`guard.${key}`, window, 'an array of numbers');
    }
  }
  count('guard.nonFiniteInARow', guard.nonFiniteInARow);
  if (state.lossScale !== undefined) {
    const { scale, steps } = fields('lossScale', state.lossScale);
    const exponent = typeof scale === 'number' ? Math.log2(scale) : Number.NaN;
    if (!Number.isInteger(exponent)) throw refusal('lossScale.scale', scale, 'a power of two');
    count('lossScale.steps', steps);
  }
  for (const [name, print] of Object.entries(fields('fingerprints', state.fingerprints))) {
    if (typeof print !== 'string' && !Number.isFinite(print)) {
      throw refusal(`fingerprints.${name}`, print, 'a string or a number');
    }
  }
  if (state.valLoss !== undefined && !Number.isFinite(state.valLoss)) {
    throw refusal('valLoss', state.valLoss, 'a number');
  }
  if (typeof state.weightsSha256 !== 'string')
    throw refusal('weightsSha256', state.weightsSha256, 'a string');
  return value as TrainerState;
}

function fields(name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal(name, value, 'an object');
  }
  return value as Record<string, unknown>;
}

function count(name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw refusal(name, value, 'an integer from 0');
}

function refusal(name: string, value: unknown, expected: string): Error {
  const kind = Array.isArray(value)
    ? 'an array'
    : typeof value === 'object' && value !== null
      ? 'an object'
      : undefined;
  return new Error(`${name}: got ${kind ?? JSON.stringify(value)?.slice(0, 80)}, expected ${expected}`);
}
