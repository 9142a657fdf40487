/** What tests of plugins share. */
import { existsSync } from 'node:fs';
import type { Client } from './client.ts';
import type { ElementType, HostArray, TensorType } from './element-types.ts';
import { findPlugin, installedPlugins } from './find-plugins.ts';
import { type Argument, buildModule, type TensorsOf } from './stablehlo/module.ts';
import type { Tensor } from './stablehlo/tensor.ts';

/** Returns the path of a plugin; without one, says that tests are skipped. */
export async function pluginForTests(name: string): Promise<string | undefined> {
  // A search of Python's environment starts a process.
  const installed = process.env.MEAP_PJRT_PLUGIN
    ? undefined
    : installedPlugins().find((one) => one.name === name);
  const path = installed?.path ?? (await findPlugin(name).catch(() => undefined));
  if (path && existsSync(path)) return path;
  console.warn(`tests of the ${name} plugin are skipped: install it with npx meap-pjrt install ${name}`);
  return undefined;
}

/** Builds, compiles and runs a program on the first device; returns its outputs as arrays. */
export async function runProgram<const A extends readonly Argument[]>(
  client: Client,
  args: A,
  inputs: readonly HostArray[],
  body: (...tensors: TensorsOf<A>) => Tensor | readonly Tensor[],
): Promise<HostArray[]> {
  const executable = await client.compile(buildModule(args, body), {
    // Compiles faster.
    xlaFlags: { xla_backend_optimization_level: 0 },
  });
  const buffers = await Promise.all(args.map((type: TensorType, i) => client.put(inputs[i], type)));
  const outputs = await executable.execute(buffers);
  const values = await Promise.all(outputs.map((output) => output.read()));
  for (const one of [...buffers, ...outputs, executable]) one.dispose();
  return values;
}

/** Returns the type of an array with a shape. */
export function typed<T extends ElementType>(type: T, ...shape: number[]): TensorType<T> {
  return { type, shape };
}
