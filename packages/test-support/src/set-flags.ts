/** Returns the flags that override keys of a recipe: `--set path.to.key=value` each. */
export function setFlags(...overrides: readonly string[]): string[] {
  return overrides.flatMap((override) => ['--set', override]);
}
