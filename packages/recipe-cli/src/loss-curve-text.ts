import type { StepMetrics } from '@meap/trainer';
import asciichart from 'asciichart';
import { lossCurve } from './metrics.ts';

/** Columns of the curve without its axis. */
const CURVE_COLUMNS = 64;

/** Draws the loss of a run as text with a title; undefined for fewer than two points. */
export function lossCurveText(steps: readonly StepMetrics[]): string | undefined {
  const curve = lossCurve(steps, CURVE_COLUMNS).map(({ loss }) => loss);
  if (curve.length < 2) return undefined;
  const title = `loss, nats per token, steps 1 to ${steps.at(-1)!.step}`;
  return `${title}\n${asciichart.plot(curve, { height: 10, format: (x) => x.toFixed(2).padStart(7) })}`;
}
