export { createMeap, type Output } from './command.ts';
export { CreateError, createProject, type Project } from './create-project.ts';
export type { PackageManager } from './package-manager.ts';
