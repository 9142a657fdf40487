import type { ConfigKeys } from './config-keys.ts';
import { FAMILIES, type ModelType } from './families.ts';

/** Whether a layer attends to all earlier tokens or to the latest `sliding_window` ones. */
export type LayerType = 'full_attention' | 'sliding_attention';

const LAYER_TYPES: readonly LayerType[] = ['full_attention', 'sliding_attention'];

/** Windows of attention by layer. */
export interface Windows {
  /** Number of latest tokens that a query attends to, itself included; null or absent: all. */
  readonly sliding_window?: number | null;
  /** One for each layer; absent if every layer has the window. */
  readonly layer_types?: readonly LayerType[];
}

/** Keys of config.json that this file reads and writes. */
export type WindowKey = keyof Windows | 'max_window_layers' | 'use_sliding_window';

/** Returns the number of latest tokens that a query of a layer attends to, itself included; undefined for all. */
export function attentionWindow({ sliding_window, layer_types }: Windows, layer: number): number | undefined {
  return layer_types?.[layer] === 'full_attention' ? undefined : (sliding_window ?? undefined);
}

/**
 * Reads the keys of sliding windows.
 *
 * Every layer of a Mistral has a window: 4096 tokens if the key is absent, none if it is null. Layers of a Qwen2 have one by
 * `layer_types`, else from `max_window_layers` on, and only with `use_sliding_window`: published configs contain an unused
 * window; a Qwen3 likewise. Configs of SmolLM3 have the keys, without a window in use. Other architectures have none, so
 * these keys are refused as unread.
 */
export function takeWindows(
  keys: ConfigKeys<WindowKey>,
  modelType: ModelType,
  { windowIsNull, numLayers }: { windowIsNull: boolean; numLayers: number },
): Windows {
  const { windows } = FAMILIES[modelType];
  if (windows === 'none') return {};
  const sliding_window = windowIsNull ? null : keys.count('sliding_window', 4096);
  if (windows === 'every layer') return { sliding_window };

  const given = takeLayerTypes(keys, numLayers);
  const isNatural = (value: number) => Number.isInteger(value) && value >= 0;
  const firstWindowed = keys.number('max_window_layers', 'a whole number from 0', isNatural, 28);
  // In a config that this package wrote, layer_types imply that the window is in use.
  const inUse = keys.boolean(
    'use_sliding_window',
    windows !== 'unused' && given?.includes('sliding_attention') === true,
  );
  if (inUse && windows === 'unused')
    throw keys.refusal('use_sliding_window', true, 'false', 'nothing else is implemented');
  if (!inUse || sliding_window === null) {
    if (!given?.includes('sliding_attention')) return {};
    throw keys.refusal('layer_types', given, 'only full_attention where no sliding_window is in use');
  }
  const layer_types =
    given ?? Array.from({ length: numLayers }, (_, layer) => LAYER_TYPES[layer >= firstWindowed ? 1 : 0]);
  if (!layer_types.includes('sliding_attention')) return {};
  return { sliding_window, layer_types: Object.freeze(layer_types) };
}

function takeLayerTypes(keys: ConfigKeys<WindowKey>, numLayers: number): LayerType[] | undefined {
  const value = keys.take('layer_types');
  if (value === undefined) return undefined;
  const fits = Array.isArray(value) && value.length === numLayers;
  if (!fits || !value.every((type) => LAYER_TYPES.includes(type))) {
    throw keys.refusal('layer_types', value, `a list of ${numLayers} of ${LAYER_TYPES.join(' or ')}`);
  }
  return [...value];
}

/** Returns the keys from which `takeWindows` reads the same windows. */
export function windowKeys(
  { sliding_window, layer_types }: Windows,
  modelType: ModelType,
  numLayers: number,
): Partial<Record<WindowKey, unknown>> {
  const { windows } = FAMILIES[modelType];
  if (windows === 'none' || windows === 'unused') return {};
  if (windows === 'every layer') return { sliding_window: sliding_window ?? null };
  return {
    use_sliding_window: layer_types !== undefined,
    sliding_window: sliding_window ?? null,
    // Versions of transformers without layer_types use the index of the first layer with a window.
    max_window_layers: layer_types?.indexOf('sliding_attention') ?? numLayers,
    ...(layer_types ? { layer_types } : {}),
  };
}
