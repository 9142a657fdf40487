const PARITY = 0x1bd11bda;

/**
 * Threefry-2x32 with 20 rounds: a keyed permutation of a 64-bit counter (Salmon et al., SC11).
 *
 * Writes two words into `out`, since a returned pair would be an allocation in a loop of 60 million passes. Unrolled, which
 * makes initialisation a third faster.
 */
// biome-ignore format: two lines are a group of four rounds, the third mixes in the key
export function threefry(key0: number, key1: number, counter0: number, counter1: number, out: Int32Array): void {
  const key2 = key0 ^ key1 ^ PARITY;
  let a = (counter0 + key0) | 0;
  let b = (counter1 + key1) | 0;
  a = (a + b) | 0; b = rotate(b, 13) ^ a; a = (a + b) | 0; b = rotate(b, 15) ^ a;
  a = (a + b) | 0; b = rotate(b, 26) ^ a; a = (a + b) | 0; b = rotate(b, 6) ^ a;
  a = (a + key1) | 0; b = (b + key2 + 1) | 0;
  a = (a + b) | 0; b = rotate(b, 17) ^ a; a = (a + b) | 0; b = rotate(b, 29) ^ a;
  a = (a + b) | 0; b = rotate(b, 16) ^ a; a = (a + b) | 0; b = rotate(b, 24) ^ a;
  a = (a + key2) | 0; b = (b + key0 + 2) | 0;
  a = (a + b) | 0; b = rotate(b, 13) ^ a; a = (a + b) | 0; b = rotate(b, 15) ^ a;
  a = (a + b) | 0; b = rotate(b, 26) ^ a; a = (a + b) | 0; b = rotate(b, 6) ^ a;
  a = (a + key0) | 0; b = (b + key1 + 3) | 0;
  a = (a + b) | 0; b = rotate(b, 17) ^ a; a = (a + b) | 0; b = rotate(b, 29) ^ a;
  a = (a + b) | 0; b = rotate(b, 16) ^ a; a = (a + b) | 0; b = rotate(b, 24) ^ a;
  a = (a + key1) | 0; b = (b + key2 + 4) | 0;
  a = (a + b) | 0; b = rotate(b, 13) ^ a; a = (a + b) | 0; b = rotate(b, 15) ^ a;
  a = (a + b) | 0; b = rotate(b, 26) ^ a; a = (a + b) | 0; b = rotate(b, 6) ^ a;
  a = (a + key2) | 0; b = (b + key0 + 5) | 0;
  out[0] = a;
  out[1] = b;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
