/** The standard normal distribution. */

/** P(Z ≤ z), with the relative precision of a float in either tail. */
export function normalCdf(z: number): number {
  return z < 0 ? erfc(-z * Math.SQRT1_2) / 2 : 1 - erfc(z * Math.SQRT1_2) / 2;
}

/** P(|Z| ≥ |z|). */
export function twoSidedNormal(z: number): number {
  return erfc(Math.abs(z) * Math.SQRT1_2);
}

/** The z with P(Z ≤ z) = `probability`; infinite for 0 and 1. */
export function normalQuantile(probability: number): number {
  if (probability > 0.5) return -normalQuantile(1 - probability);
  if (probability === 0) return Number.NEGATIVE_INFINITY;
  // Bisection ends when no number lies between the two; 40 is beyond the smallest float's quantile.
  let [low, high] = [-40, 0];
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (normalCdf(middle) < probability) low = middle;
    else high = middle;
  }
}

/** 2/√π ∫ₓ^∞ e^(−t²) dt for x ≥ 0: the series DLMF 7.6.2 below 2, the continued fraction DLMF 7.9.2 above. */
function erfc(x: number): number {
  const scale = Math.exp(-x * x) / Math.sqrt(Math.PI);
  if (x < 2) {
    let term = 2 * x;
    let sum = term;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return 1 - scale * sum;
  }
  if (scale === 0) return 0;
  let fraction = x;
  for (let n = 150; n > 0; n--) fraction = x + n / 2 / fraction;
  return scale / fraction;
}
