#!/usr/bin/env node
import { handoffCommand } from './handoff-command.ts';

process.exitCode = await handoffCommand(process.argv.slice(2));
