import type { ConfigKeys } from './config-keys.ts';

/** Layers with and without a rotary embedding. */
export interface RopeLayers {
  /** By layer: 1 rotates queries and keys, 0 does not, unlike the key's name; absent: every layer rotates. */
  readonly no_rope_layers?: readonly number[];
}

/** Keys of config.json that this file reads. */
export type RopeLayerKey = keyof RopeLayers | 'no_rope_layer_interval';

/** Returns whether a layer rotates its queries and keys. */
export function rotatesLayer({ no_rope_layers }: RopeLayers, layer: number): boolean {
  return no_rope_layers?.[layer] !== 0;
}

/** Reads the layers of a SmolLM3 without RoPE: by default every fourth (NoPE, arXiv 2501.18795). */
export function takeRopeLayers(keys: ConfigKeys<RopeLayerKey>, numLayers: number): Required<RopeLayers> {
  const given = keys.take('no_rope_layers');
  const interval = keys.count('no_rope_layer_interval', 4);
  const layers =
    given ?? Array.from({ length: numLayers }, (_, layer) => Number((layer + 1) % interval !== 0));
  // transformers ignores entries beyond the layers.
  if (
    !Array.isArray(layers) ||
    layers.length < numLayers ||
    !layers.every((flag) => flag === 0 || flag === 1)
  ) {
    throw keys.refusal('no_rope_layers', given, `a list of ${numLayers} of 0 (no RoPE) or 1`);
  }
  return { no_rope_layers: Object.freeze(layers.slice(0, numLayers)) };
}
