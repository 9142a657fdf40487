export { CreateError, type CreateOptions, createProject, type Project } from './create-project.ts';
export type { PackageManager } from './package-manager.ts';
