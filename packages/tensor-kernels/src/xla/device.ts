/** Finds a PJRT plugin and connects to its devices. */
import { type Client, type Device, findPlugins, loadPlugin } from '@meap/pjrt';
import { mayServe } from '../device-files.ts';
import { BackendError } from '../errors.ts';

/** A client of the first plugin whose device is there, and its first device. */
export interface XlaDevice {
  readonly client: Client;
  readonly device: Device;
  readonly description: string;
}

/**
 * Connects to a plugin's devices: that of `MEAP_PJRT_PLUGIN`, else an accelerator's that is there, else the CPU plugin.
 *
 * @param options `needsAccelerator`: refuses the CPU plugin
 * @throws BackendError that says what is missing and what to do
 */
export async function connect({ needsAccelerator = false } = {}): Promise<XlaDevice> {
  const found = await findPlugins();
  const selected = found.find(({ source }) => source === 'MEAP_PJRT_PLUGIN');
  const accelerators = found.filter(({ name }) => name !== 'cpu' && mayServe(name));
  const cpu = needsAccelerator ? undefined : found.find(({ name }) => name === 'cpu');
  const plugin = selected ?? accelerators[0] ?? cpu;
  if (!plugin) {
    const others = found.map(({ name }) => name).join(', ');
    throw new BackendError(
      `xla: no PJRT plugin for a device of this machine${others ? ` (found: ${others})` : ''}; ` +
        'install one with `npx meap-pjrt install cuda13`, `tpu`, `rocm7` or, to try it on a processor, `cpu`',
    );
  }
  try {
    const client = await loadPlugin(plugin.path).createClient();
    if (needsAccelerator && client.platformName === 'cpu') throw new Error('it has only the processor');
    const [device] = client.devices;
    return { client, device, description: `${plugin.name} plugin, ${device.kind}` };
  } catch (error) {
    const reason = oneLine(error);
    throw new BackendError(`xla: the plugin ${plugin.name} (${plugin.path}) does not start: ${reason}`, {
      cause: error,
    });
  }
}

/** The first line of an error's message; plugins add traces of their own. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0].trim();
}
