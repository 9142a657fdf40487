/** Colours of runs by Okabe and Ito, distinguishable with colour blindness; darker on white, lighter on black. */
const LIGHT = ['#0072b2', '#c94a00', '#00805c', '#b0508a', '#7a5c00', '#3399cc', '#5b3fb0', '#444b58'];
const DARK = ['#56b4e9', '#ff9142', '#2fc99b', '#e79ac6', '#e6c229', '#9ad1ff', '#b79cff', '#c3cad6'];

const darkScheme = matchMedia('(prefers-color-scheme: dark)');

/** Returns the colour of a slot, with dashes from the ninth slot on. */
export function lineStyle(slot: number): { color: string; dash: number[] | undefined } {
  const colors = darkScheme.matches ? DARK : LIGHT;
  return { color: colors[slot % colors.length], dash: slot >= colors.length ? [6, 4] : undefined };
}

/** Calls `call` when the colour scheme changes. */
export function onScheme(call: () => void): void {
  darkScheme.addEventListener('change', call);
}

/** Returns a colour of the style sheet. */
export function ink(name: '--ink' | '--soft' | '--faint'): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
