import { nodeModule } from './node-module.ts';

export const fs: typeof import('node:fs') = /* @__PURE__ */ nodeModule('node:fs');
export const paths: typeof import('node:path') = /* @__PURE__ */ nodeModule('node:path');
export const urls: typeof import('node:url') = /* @__PURE__ */ nodeModule('node:url');
