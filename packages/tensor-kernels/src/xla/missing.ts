/** In browsers, in place of `register.ts`. */
export function registerXlaBackend(): Promise<never> {
  return needsNode();
}

export function startAbsentXla(): Promise<never> {
  return needsNode();
}

function needsNode(): never {
  throw new Error('xla: needs Node.js, got another JavaScript runtime; use webgpu here');
}
