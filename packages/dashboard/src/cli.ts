#!/usr/bin/env node
// Before any import: dependencies use features that older versions of Node.js lack.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `meap-dashboard: this Node.js is too old, got ${process.versions.node}, expected 20.19 or later; ` +
      'install a newer one, such as the LTS of https://nodejs.org',
  );
  process.exit(1);
}
const { dashboardCommand } = await import('./command.ts');

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stop.abort());
// When the terminal is closed, the pages are notified before the process ends.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
process.exitCode = await dashboardCommand(process.argv.slice(2), process, stop.signal);
