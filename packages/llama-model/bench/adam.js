/** Hyperparameters of AdamW in these benchmarks. */
export const ADAM = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0,
  gradientScale: 1e-3,
  learningRate: 1e-4,
};
