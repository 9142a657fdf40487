#!/usr/bin/env node
import { sampleCommand } from './sample-command.ts';

process.exitCode = await sampleCommand(process.argv.slice(2));
