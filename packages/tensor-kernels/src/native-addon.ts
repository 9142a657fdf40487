export interface NativeAddon {
  instructionSet(): string;
  numThreads(): number;
}
export function loadNativeAddon(): NativeAddon {
  throw new Error('native: not built yet');
}
