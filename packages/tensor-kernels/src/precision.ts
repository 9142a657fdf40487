/** The names that `setPrecision` accepts. */
export const precisionNames = ['float32', 'bfloat16', 'float16'] as const;

/** How matrix products round their inputs; see `setPrecision`. */
export type Precision = (typeof precisionNames)[number];
