/** The files by which Linux shows devices. */

/** Returns the names in a folder; none where it cannot be read, as in a browser. */
function filesIn(folder: string): string[] {
  try {
    return process.getBuiltinModule('node:fs').readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether one of the folders has a file with a matching name. */
export function hasDeviceFile(pattern: RegExp, ...folders: string[]): boolean {
  return folders.some((folder) => filesIn(folder).some((name) => pattern.test(name)));
}

/** Whether there is an accelerator, by the kind of PJRT plugin that is for it. */
const ACCELERATORS: Readonly<Record<string, () => boolean>> = {
  cuda: () => hasDeviceFile(/^(nvidia\d+|dxg)$/, '/dev'),
  rocm: () => hasDeviceFile(/^kfd$/, '/dev'),
  tpu: () => hasDeviceFile(/^accel\d+$/, '/dev') || hasDeviceFile(/^\d+$/, '/dev/vfio'),
};

/** Whether the machine has an accelerator that a plugin such as `cuda13` may be for; true for unknown plugins. */
export function mayServe(plugin: string): boolean {
  return ACCELERATORS[plugin.replace(/\d+$/, '')]?.() ?? true;
}

/** Whether the machine has an accelerator for which there are PJRT plugins. */
export function hasAccelerator(): boolean {
  return Object.values(ACCELERATORS).some((isThere) => isThere());
}
