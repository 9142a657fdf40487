import { Tokenizer } from '@huggingface/tokenizers';
import { countParameters, Llama, parameterShapes, parseConfig } from '@meap/llama-model';
import { parseSafetensors, toFloat32 } from '@meap/safetensors';
import * as tf from '@tensorflow/tfjs';

/** A model and its tokenizer. */
export interface Checkpoint {
  model: Llama;
  tokenizer: Tokenizer;
  numParameters: number;
}

/**
 * Loads a Hugging Face checkpoint from files that the user chose.
 *
 * @throws Error with the missing file or tensor
 */
export async function loadCheckpoint(files: File[]): Promise<Checkpoint> {
  const named = (name: string) => {
    const file = files.find((file) => file.name === name);
    if (file) return file;
    throw new Error(`${name} is missing; select config.json, model.safetensors and tokenizer.json`);
  };
  const json = async (name: string) => JSON.parse(await named(name).text());
  const config = parseConfig(await json('config.json'));
  const extra = files.some((file) => file.name === 'tokenizer_config.json');
  const tokenizer = new Tokenizer(
    await json('tokenizer.json'),
    extra ? await json('tokenizer_config.json') : {},
  );
  const weights = named('model.safetensors');
  const { tensors } = parseSafetensors(new Uint8Array(await weights.arrayBuffer()), weights.name);
  const parameters = new Map<string, tf.Variable>();
  for (const [name, shape] of parameterShapes(config)) {
    const tensor = tensors.get(name);
    if (!tensor || String(tensor.shape) !== String(shape)) {
      throw new Error(`${weights.name}: ${name} is [${tensor?.shape ?? 'missing'}], expected [${shape}]`);
    }
    parameters.set(name, tf.variable(tf.tensor(toFloat32(tensor), [...shape])));
  }
  return { model: new Llama(config, parameters), tokenizer, numParameters: countParameters(config) };
}
