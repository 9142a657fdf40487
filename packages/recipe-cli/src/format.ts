/** Numbers and times as people read them. */

/** A count with three digits: 3.42M, 512, 1.18B. */
export function short(value: number): string {
  return scaled(value, ['', 'K', 'M', 'B', 'T']);
}

/** A count with its noun: 1 bad record, 1,234 bad records. */
export function counted(value: number, one: string, several = `${one}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? one : several}`;
}

/** Floating-point operations, or with `/s` their rate: 18.4 MFLOP, 252 GFLOP/s. */
export function flop(value: number): string {
  return `${scaled(value, [' ', ' K', ' M', ' G', ' T', ' P'])}FLOP`;
}

function scaled(value: number, suffixes: readonly string[]): string {
  const power = Math.min(suffixes.length - 1, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3));
  return `${Number((value / 1000 ** power).toPrecision(3))}${suffixes[power]}`;
}

/** Bytes with a binary suffix: 1.4 GiB. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return `${Number((value / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

/** A duration in its two largest units: 1 m 40 s, 3 d 4 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return 'unknown';
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [size, unit] of [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ] as const) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0 || parts.length > 0) parts.push(`${whole} ${unit}`);
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}

/** A share as a percentage: 37.2 %. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Text that cannot command a terminal: control characters other than line feeds and tabs are replaced. */
export function plainText(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, '\u{fffd}');
}
