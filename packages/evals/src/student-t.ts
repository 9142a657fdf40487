/**
 * Tail probabilities of Student's t and of fair coin tosses, both from the regularized incomplete beta function.
 *
 * The alternatives on npm are @stdlib, with 222 packages and 27 MB, and jstat, whose fraction stops at 3e-7.
 */

/** P(|T| ≥ |t|) for Student's t with `degreesOfFreedom` > 0, which need not be an integer. */
export function twoSidedT(t: number, degreesOfFreedom: number): number {
  const square = t * t;
  if (square === Number.POSITIVE_INFINITY) return 0;
  const sum = degreesOfFreedom + square;
  return incompleteBeta(degreesOfFreedom / sum, square / sum, degreesOfFreedom / 2, 0.5);
}

/** The t ≥ 0 with this two-sided probability, between 0 and 1. */
export function criticalT(probability: number, degreesOfFreedom: number): number {
  let [low, high] = [0, 1];
  while (twoSidedT(high, degreesOfFreedom) > probability) high *= 2;
  // Bisection ends when there is no number between the two.
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (twoSidedT(middle, degreesOfFreedom) > probability) low = middle;
    else high = middle;
  }
}

/** Probability of a split of `heads + tails` fair tosses that is at least as uneven. */
export function twoSidedCoin(heads: number, tails: number): number {
  if (heads === tails) return 1;
  const fewer = Math.min(heads, tails);
  // P(X ≤ fewer) of the binomial distribution (DLMF 8.17.5), twice by symmetry.
  return Math.min(1, 2 * incompleteBeta(0.5, 0.5, heads + tails - fewer, fewer + 1));
}

/**
 * I_x(a, b), with `y` = 1 − x given, so that neither tail is lost to cancellation.
 *
 * Continued fraction DLMF 8.17.22 by Lentz's method (modified by Thompson and Barnett).
 */
function incompleteBeta(x: number, y: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  // The fraction converges fast on this side of the mean.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(y, x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log(y) - logBeta(a, b)) / a;
  const tiny = 1e-300;
  const nonZero = (value: number) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  const step = (coefficient: number) => {
    d = 1 / nonZero(1 + coefficient * d);
    c = nonZero(1 + coefficient / c);
    fraction *= c * d;
    return Math.abs(c * d - 1);
  };
  for (let m = 1; m < 100_000; m++) {
    step((m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)));
    const change = step((-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)));
    if (change < 1e-16) break;
  }
  return front * fraction;
}

/** log B(a, b), without the cancellation of three log gammas for large a. */
function logBeta(a: number, b: number): number {
  const [small, large] = a < b ? [a, b] : [b, a];
  if (large < 10) return logGamma(small) + logGamma(large) - logGamma(small + large);
  // log Γ(large) − log Γ(small + large) by Stirling's series, its leading terms combined.
  const sum = small + large;
  const ratio =
    (large - 0.5) * Math.log1p(-small / sum) -
    small * Math.log(sum) +
    small +
    stirling(large) -
    stirling(sum);
  return logGamma(small) + ratio;
}

/** log Γ(x) for x > 0: the recurrence up to 10, then Stirling's series (DLMF 5.11.1). */
export function logGamma(x: number): number {
  let product = 1;
  let shifted = x;
  for (; shifted < 10; shifted++) product *= shifted;
  return (
    (shifted - 0.5) * Math.log(shifted) -
    shifted +
    0.5 * Math.log(2 * Math.PI) +
    stirling(shifted) -
    Math.log(product)
  );
}

/** Remainder of Stirling's formula, Σ B₂ₖ / (2k(2k−1) x²ᵏ⁻¹); the error is below 1e-16 for x ≥ 10. */
function stirling(x: number): number {
  const r = 1 / (x * x);
  return (
    (1 / 12 -
      r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188 - r * (691 / 360360 - r / 156)))))) /
    x
  );
}
