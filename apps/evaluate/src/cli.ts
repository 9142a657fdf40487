#!/usr/bin/env node
import { endProcess } from '@meap/recipe-cli';
import { evaluateCommand } from './command.ts';

endProcess(await evaluateCommand(process.argv.slice(2)));
