/**
 * A mark that ends a sentence in scripts without Latin's full stop, as the source of a regular expression with flag u:
 * 。！？।॥؟۔։።။ and so on.
 */
export const FOREIGN_STOP = String.raw`(?=[\u0589-\u1fff\u2e80-\u{10ffff}])\p{Sentence_Terminal}`;

/** Quotation marks and brackets that follow the mark. */
export const FOREIGN_CLOSING = String.raw`[\p{Close_Punctuation}\p{Final_Punctuation}]`;
