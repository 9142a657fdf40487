/** In browsers, in place of `backend.ts`. */
export function registerXlaBackend(): Promise<string> {
  throw new Error('xla: needs Node.js, got another JavaScript runtime; use webgpu here');
}
