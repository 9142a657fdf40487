#!/usr/bin/env node
import { evaluateCommand } from './command.ts';

process.exitCode = await evaluateCommand(process.argv.slice(2));
