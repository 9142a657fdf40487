/**
 * Ends a program with one line if Node is too old. Import it alone and first: older versions fail while they load the
 * dependencies.
 */
export function requireNode(program: string, { versions, getBuiltinModule }: RunningNode = process): void {
  const [major, minor] = versions.node.split('.').map(Number);
  // 21, and 22 before 22.3, lack getBuiltinModule.
  if ((major > 20 || (major === 20 && minor >= 19)) && typeof getBuiltinModule === 'function') return;
  console.error(
    `${program}: this Node.js is too old, got ${versions.node}, expected 20.19 or later; ` +
      'install a newer one, such as the LTS of https://nodejs.org',
  );
  process.exit(1);
}

/** The members of `process` that are used. */
export interface RunningNode {
  versions: { node: string };
  getBuiltinModule?: unknown;
}
