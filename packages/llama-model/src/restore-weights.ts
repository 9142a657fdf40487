import { loadLlama } from './checkpoint.ts';
import { removeLora } from './lora.ts';
import { loadLora } from './lora-checkpoint.ts';
import type { Llama } from './model.ts';

/**
 * Fills a model in place with the weights that `saveLlama` wrote, or its adapter, if it has one, with those of `saveLora`.
 *
 * @throws as `loadLlama` and `loadLora`
 */
export async function restoreWeights(model: Llama, directory: string): Promise<void> {
  if (!model.adapter) {
    const loaded = await loadLlama(directory);
    try {
      for (const [name, parameter] of model.parameters) parameter.assign(loaded.parameters.get(name)!);
    } finally {
      loaded.dispose();
    }
    return;
  }
  const adapter = model.detach()!;
  try {
    const loaded = await loadLora(directory, model);
    for (const [name, parameter] of adapter.parameters) parameter.assign(loaded.parameters.get(name)!);
    removeLora(model);
  } finally {
    model.attach(adapter);
  }
}
