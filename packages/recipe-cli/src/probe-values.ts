/** The values that probes measured in a run, as text and as curves. */
import type { ProbeMetrics } from '@meap/trainer';

/** A value over the steps at which it was measured and finite. */
export interface ProbeCurve {
  probe: string;
  /** The name of the value within its probe. */
  name: string;
  points: { step: number; value: number }[];
}

/** Returns the curves of all rows, without those of groups such as `recall/acc/pairs=4`. */
export function probeCurves(lines: readonly ProbeMetrics[]): ProbeCurve[] {
  const curves = new Map<string, ProbeCurve>();
  for (const { step, probes } of lines) {
    for (const [path, value] of Object.entries(probes)) {
      const [probe, name, group] = path.split('/');
      if (group !== undefined || value === null) continue;
      if (!curves.has(path)) curves.set(path, { probe, name, points: [] });
      curves.get(path)!.points.push({ step, value });
    }
  }
  return [...curves.values()];
}

/** Returns the values of one line, without those of groups: `induction gain 0.512, acc 0.125; recall acc 0.5`. */
export function describeProbes(values: ProbeMetrics['probes']): string {
  const rows = Object.entries(values).flatMap(([path, value]) => {
    const [probe, name, group] = path.split('/');
    return group === undefined ? [{ probe, name, text: value?.toFixed(3) ?? 'not finite' }] : [];
  });
  return joined(rows);
}

/** Returns the first and last values: `induction gain 0.01 → 0.51, acc 0 → 0.03`. */
export function describeProbeCurves(curves: readonly ProbeCurve[]): string {
  const rows = curves.map(({ probe, name, points }) => {
    const ends = points.length > 1 ? [points[0], points.at(-1)!] : points;
    return { probe, name, text: ends.map(({ value }) => Number(value.toFixed(3))).join(' → ') };
  });
  return joined(rows);
}

function joined(rows: readonly { probe: string; name: string; text: string }[]): string {
  const byProbe = new Map<string, string[]>();
  for (const { probe, name, text } of rows) {
    byProbe.set(probe, [...(byProbe.get(probe) ?? []), `${name} ${text}`]);
  }
  return Array.from(byProbe, ([probe, texts]) => `${probe} ${texts.join(', ')}`).join('; ');
}
