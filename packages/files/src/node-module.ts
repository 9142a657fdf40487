/**
 * Returns a module of Node without an import that a bundler for browsers would find.
 *
 * @param unavailable makes the error that every use of the module throws outside Node
 */
export function nodeModule<Module extends object>(
  name: `node:${string}`,
  unavailable: () => Error = () =>
    new Error(`${name} is not available, got a browser, expected Node.js 20.19 or later`),
): Module {
  const load = globalThis.process?.getBuiltinModule;
  if (load) return load(name) as Module;
  return new Proxy({} as Module, {
    get() {
      throw unavailable();
    },
  });
}
