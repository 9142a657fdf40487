#!/usr/bin/env node
import { endProcess } from '@meap/recipe-cli';
import { pretrainCommand } from './command.ts';

endProcess(await pretrainCommand(process.argv.slice(2)));
