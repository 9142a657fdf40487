import { type Handle, loadAddon } from './addon.ts';
import { PjrtError } from './errors.ts';

const handles = new WeakMap<object, Handle>();

/** Makes an object the owner of a handle; garbage collection releases what is never disposed. */
export function own(owner: object, handle: Handle): void {
  handles.set(owner, handle);
}

/** @throws PjrtError if the owner has been disposed of */
export function handleOf(owner: object, operation: string): Handle {
  const handle = handles.get(owner);
  if (handle) return handle;
  const what = owner.constructor.name.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase();
  throw new PjrtError('FAILED_PRECONDITION', `${operation}: the ${what} is disposed`);
}

/** Releases the handle of an owner, once. */
export function release(owner: object): void {
  const handle = handles.get(owner);
  if (!handle) return;
  handles.delete(owner);
  loadAddon().release(handle);
}

/** Like {@link release}, on another thread. */
export async function releaseApart(owner: object): Promise<void> {
  const handle = handles.get(owner);
  if (!handle) return;
  handles.delete(owner);
  await loadAddon().releaseApart(handle);
}
