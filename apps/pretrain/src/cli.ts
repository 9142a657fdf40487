#!/usr/bin/env node
import { pretrainCommand } from './command.ts';

process.exitCode = await pretrainCommand(process.argv.slice(2));
