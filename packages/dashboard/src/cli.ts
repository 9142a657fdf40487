#!/usr/bin/env node
import { dashboardCommand } from './command.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
process.exitCode = await dashboardCommand(process.argv.slice(2), process, stop.signal);
