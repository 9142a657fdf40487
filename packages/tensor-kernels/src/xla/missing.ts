/** In browsers, in place of `register.ts`. */
export function registerXlaBackend(): Promise<string> {
  throw new Error('xla: needs Node.js, got another JavaScript runtime; use webgpu here');
}

export const startAbsentXla = registerXlaBackend;
