#!/usr/bin/env node
import { chatCommand } from './chat-command.ts';

process.exitCode = await chatCommand(process.argv.slice(2));
