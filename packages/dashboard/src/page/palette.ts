/** Colours of runs: Okabe and Ito's, told apart with every kind of colour blindness, darker on white, lighter on black. */

const LIGHT = ['#0072b2', '#c94a00', '#00805c', '#b0508a', '#7a5c00', '#3399cc', '#5b3fb0', '#444b58'];
const DARK = ['#56b4e9', '#ff9142', '#2fc99b', '#e79ac6', '#e6c229', '#9ad1ff', '#b79cff', '#c3cad6'];

const darkScheme = matchMedia('(prefers-color-scheme: dark)');

/** Colour of a place, and dashes from the ninth place on. */
export function look(slot: number): { color: string; dash: number[] | undefined } {
  const colors = darkScheme.matches ? DARK : LIGHT;
  return { color: colors[slot % colors.length], dash: slot >= colors.length ? [6, 4] : undefined };
}

/** Calls when the reader's scheme turns from light to dark or back. */
export function onScheme(call: () => void): void {
  darkScheme.addEventListener('change', call);
}

/** A colour of the style sheet. */
export function ink(name: '--ink' | '--soft' | '--faint'): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
