import type { ConfigKeys } from './config-keys.ts';
import type { ModelType } from './families.ts';

/** How one layer attends: to all earlier tokens, or to the latest `sliding_window` ones. */
export type LayerType = 'full_attention' | 'sliding_attention';

const LAYER_TYPES: readonly LayerType[] = ['full_attention', 'sliding_attention'];

/** Which layers look back how far. */
export interface Windows {
  /** Latest tokens that a query sees, its own included; null or absent: all. */
  readonly sliding_window?: number | null;
  /** One a layer; absent where every layer has the window. */
  readonly layer_types?: readonly LayerType[];
}

/** Latest tokens that a query of a layer sees, its own included; undefined where it sees all. */
export function attentionWindow({ sliding_window, layer_types }: Windows, layer: number): number | undefined {
  return layer_types?.[layer] === 'full_attention' ? undefined : (sliding_window ?? undefined);
}

/**
 * Takes the keys that say which layers have a sliding window.
 *
 * Every layer of a Mistral has it: 4096 tokens where the key is absent, none where it is null. A Qwen2's layers have
 * it by `layer_types`, or else from `max_window_layers` on, and only with `use_sliding_window`: published configs
 * carry a window that is not in use. A LLaMA has none, so its keys stay and are refused.
 */
export function takeWindows(
  keys: ConfigKeys,
  modelType: ModelType,
  { windowIsNull, numLayers }: { windowIsNull: boolean; numLayers: number },
): Windows {
  if (modelType === 'llama') return {};
  const sliding_window = windowIsNull ? null : keys.count('sliding_window', 4096);
  if (modelType === 'mistral') return { sliding_window };

  const given = takeLayerTypes(keys, numLayers);
  const isNatural = (value: number) => Number.isInteger(value) && value >= 0;
  const firstWindowed = keys.number('max_window_layers', 'a whole number from 0', isNatural, 28);
  // What this function returned says by its layer types that the window is in use.
  const inUse = keys.boolean('use_sliding_window', given?.includes('sliding_attention') ?? false);
  if (!inUse || sliding_window === null) {
    if (!given?.includes('sliding_attention')) return {};
    throw keys.refusal('layer_types', given, 'only full_attention where no sliding_window is in use');
  }
  const layer_types =
    given ?? Array.from({ length: numLayers }, (_, layer) => LAYER_TYPES[layer >= firstWindowed ? 1 : 0]);
  if (!layer_types.includes('sliding_attention')) return {};
  return { sliding_window, layer_types: Object.freeze(layer_types) };
}

function takeLayerTypes(keys: ConfigKeys, numLayers: number): LayerType[] | undefined {
  const value = keys.take('layer_types');
  if (value === undefined) return undefined;
  const fits = Array.isArray(value) && value.length === numLayers;
  if (!fits || !value.every((type) => LAYER_TYPES.includes(type))) {
    throw keys.refusal('layer_types', value, `a list of ${numLayers} of ${LAYER_TYPES.join(' or ')}`);
  }
  return [...value];
}

/** The keys that `takeWindows` reads back to the same. */
export function windowKeys(
  { sliding_window, layer_types }: Windows,
  modelType: ModelType,
  numLayers: number,
): Record<string, unknown> {
  if (modelType === 'llama') return {};
  if (modelType === 'mistral') return { sliding_window: sliding_window ?? null };
  return {
    use_sliding_window: layer_types !== undefined,
    sliding_window: sliding_window ?? null,
    // Versions of transformers without layer_types know windows by the first layer that has one.
    max_window_layers: layer_types?.indexOf('sliding_attention') ?? numLayers,
    ...(layer_types ? { layer_types } : {}),
  };
}
