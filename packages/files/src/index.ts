export { makeDirectory, syncDirectory, syncHandle } from './directory.ts';
export { findWorker } from './find-worker.ts';
export { nodeModule } from './node-module.ts';
export { packageFolder } from './package-folder.ts';
export { type WriteFileOptions, writeFileAtomic, writeStreamAtomic } from './write-file.ts';
