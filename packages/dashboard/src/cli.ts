#!/usr/bin/env node
import { dashboardCommand } from './command.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stop.abort());
// A terminal that is closed must not end it before its pages have heard.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
process.exitCode = await dashboardCommand(process.argv.slice(2), process, stop.signal);
