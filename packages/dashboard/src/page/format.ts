/** Numbers as people read them. */

/** A count with three digits: 3.42M, 512, 1.18B. */
export function short(value: number): string {
  return scaled(value, 1000, ['', 'K', 'M', 'B', 'T']);
}

/** Bytes: 1.4 GiB. */
export function bytes(value: number): string {
  return scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  const power = Math.floor(Math.log(Math.max(1, Math.abs(value))) / Math.log(base) + 1e-9);
  const at = Math.min(units.length - 1, power);
  return `${Number((value / base ** at).toPrecision(3))}${units[at]}`;
}

/** A share: 37.2 %. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** A duration in its two largest units: 1 m 40 s. */
export function duration(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
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
  return (
    parts
      .slice(0, 2)
      .filter((part, i) => i === 0 || !part.startsWith('0 '))
      .join(' ') || '0 s'
  );
}

/** A number with four digits, in plain notation where that is short. */
export function plain(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return String(Number(value.toPrecision(4)));
}

/** A step, grouped: 12,345. */
export function grouped(value: number): string {
  return value.toLocaleString('en');
}
