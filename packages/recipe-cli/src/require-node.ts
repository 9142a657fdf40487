/**
 * Ends a program whose Node is too old, in one line. To be imported alone, before all else: dependencies use syntax and
 * functions that an older Node stumbles over while it loads them.
 */
export function requireNode(program: string, { versions, getBuiltinModule }: RunningNode = process): void {
  const [major, minor] = versions.node.split('.').map(Number);
  // 21 and 22 before 22.3 lack the function, which they count as newer than 20.19.
  if ((major > 20 || (major === 20 && minor >= 19)) && typeof getBuiltinModule === 'function') return;
  console.error(
    `${program}: this Node.js is too old, got ${versions.node}, expected 20.19 or later; ` +
      'install a newer one, such as the LTS of https://nodejs.org',
  );
  process.exit(1);
}

/** What is asked of `process`. */
export interface RunningNode {
  versions: { node: string };
  getBuiltinModule?: unknown;
}
