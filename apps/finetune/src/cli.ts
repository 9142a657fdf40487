#!/usr/bin/env node
import { endProcess } from '@meap/recipe-cli';
import { finetuneCommand } from './command.ts';

endProcess(await finetuneCommand(process.argv.slice(2)));
