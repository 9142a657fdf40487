/** Names that {@link setPrecision} knows. */
export const precisionNames = ['float32', 'bfloat16', 'float16'] as const;

/** How matrix products round their inputs; see {@link setPrecision}. */
export type Precision = (typeof precisionNames)[number];
