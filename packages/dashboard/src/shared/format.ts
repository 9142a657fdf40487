/** Numbers, durations and text in the form in which every command, report and page displays them. */

/** Returns a count with three significant digits: 3.42M, 512, 1.18B. */
export function short(value: number): string {
  return scaled(value, 1000, ['', 'K', 'M', 'B', 'T']);
}

/** Returns floating-point operations; append `/s` for a rate: 18.4 MFLOP, 252 GFLOP/s. */
export function flop(value: number): string {
  return `${scaled(value, 1000, [' ', ' K', ' M', ' G', ' T', ' P'])}FLOP`;
}

/** Returns bytes with a binary suffix: 1.4 GiB. */
export function bytes(value: number): string {
  return scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  const last = units.length - 1;
  for (let power = 0; ; power++) {
    const size = value / base ** power;
    const rounded = Number(size.toPrecision(3));
    // The rounded value too: 999,999 is 1M, not 1000K.
    if (power === last || Math.max(Math.abs(size), Math.abs(rounded)) < base)
      return `${rounded}${units[power]}`;
  }
}

/** Returns a fraction as a percentage: 37.2 %. */
export function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}

/** Returns a duration in its two largest units: 1 m 40 s, 3 d 4 h, 2 h; below 10 seconds with one decimal. */
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
    if (whole > 0 || parts.length > 0) parts.push(whole > 0 ? `${whole} ${unit}` : '');
  }
  return parts.slice(0, 2).filter(Boolean).join(' ');
}

/** Returns a number with four significant digits, in exponential notation where that is shorter. */
export function plain(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return String(Number(value.toPrecision(4)));
}

/** Returns a number with grouped digits: 12,345. */
export function grouped(value: number): string {
  return value.toLocaleString('en');
}

/** Returns a count with its noun: 1 bad record, 1,234 bad records. */
export function counted(value: number, one: string, several = `${one}s`): string {
  return `${grouped(value)} ${value === 1 ? one : several}`;
}

/** Returns text with control characters replaced, except line feeds and tabs, so that it is safe to print in a terminal. */
export function plainText(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, '\u{fffd}');
}
