#!/usr/bin/env node
import { finetuneCommand } from './command.ts';

process.exitCode = await finetuneCommand(process.argv.slice(2));
