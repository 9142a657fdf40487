/** The command line of `meap-chat`, as a function from arguments to an exit code. */
import { createInterface } from 'node:readline';
import { type ChatModel, laterSeed, loadModel, streamAnswer } from '@meap/inference';
import { stopIdsOf } from '@meap/llama-model';
import {
  type CommandIo,
  countFlag,
  EXIT,
  plainText,
  runCommand,
  type SamplingFlags,
  withSamplingFlags,
} from '@meap/recipe-cli';
import {
  ChatEncoder,
  loadChatTemplate,
  loadTokenizer,
  type Message,
  specialTokensOf,
} from '@meap/token-dataset';
import { isUserError } from './errors.ts';
import { modelCommand, openFolders, reportFallback } from './model-command.ts';

/** The input and output streams of a chat. */
export interface ChatIo extends CommandIo {
  stdin: AsyncIterable<Uint8Array | string> & { readonly isTTY?: boolean };
}

interface Flags extends SamplingFlags {
  model: string;
  system?: string;
  chatTemplate?: string;
  maxNewTokens?: number;
}

/** Runs `meap-chat`: reads messages line by line and streams answers, until `/exit` or the end of the input. */
export async function chatCommand(argv: readonly string[], io: ChatIo = process): Promise<number> {
  const command = modelCommand(
    'meap-chat',
    'Chat with a model. /new starts a new conversation, /exit ends the chat; Ctrl-C ends an answer, or at the prompt the chat.',
  )
    .option('--system <text>', 'system message')
    .option('--chat-template <name>', 'built-in template or file; default: the model’s template')
    .option(
      '--max-new-tokens <n>',
      'maximum length of an answer; default: the rest of the context',
      countFlag(1),
    );
  withSamplingFlags(command, { temperature: 0.7 });
  const action = async () => {
    const flags = command.opts<Flags>();
    const folders = await openFolders(flags.model, io);
    const tokenizer = loadTokenizer(folders.tokenizer);
    const template = loadChatTemplate(folders.tokenizer, specialTokensOf(tokenizer), {
      choice: flags.chatTemplate,
      setting: '--chat-template',
    });
    const encoder = new ChatEncoder(tokenizer, template);
    const { model, backend } = await loadModel(folders, flags);
    reportFallback(flags.backend, backend, io.stderr);
    try {
      await converse({ model, tokenizer, encoder }, flags, io);
      return EXIT.done;
    } finally {
      model.dispose();
    }
  };
  return runCommand(command, argv, { io, isUserError, action });
}

async function converse(chatModel: ChatModel, flags: Flags, io: ChatIo): Promise<void> {
  const { temperature, topK, topP, seed, maxNewTokens } = flags;
  const opening: Message[] = flags.system ? [{ role: 'system', content: flags.system }] : [];
  const stopIds = [...new Set([...stopIdsOf(chatModel.model.config), chatModel.encoder.endOfAnswerId])];
  let messages = [...opening];
  let turn = 0;
  let stopped = false;
  let isAnswering = false;
  const lines = createInterface({
    input: io.stdin as NodeJS.ReadStream,
    output: io.stdin.isTTY ? (io.stdout as NodeJS.WritableStream) : undefined,
    prompt: '> ',
  });
  const interrupt = () => {
    if (isAnswering && !stopped) stopped = true;
    else {
      // The shell's prompt starts on a new line.
      if (io.stdin.isTTY) io.stdout.write('\n');
      lines.close();
    }
  };
  lines.on('SIGINT', interrupt);
  // Without a terminal, readline does not receive Ctrl-C.
  process.on('SIGINT', interrupt);
  try {
    if (io.stdin.isTTY) lines.prompt();
    for await (const line of lines) {
      const content = line.trim();
      if (content === '/exit') break;
      if (content === '/new') {
        messages = [...opening];
      } else if (content !== '') {
        messages.push({ role: 'user', content });
        isAnswering = true;
        stopped = false;
        let text = '';
        try {
          const options = { temperature, topK, topP, seed: laterSeed(seed, turn++), maxNewTokens, stopIds };
          for await (const piece of streamAnswer(chatModel, messages, options)) {
            io.stdout.write(plainText(piece));
            text += piece;
            // A macrotask, so that signals are handled during an answer.
            await new Promise(setImmediate);
            if (stopped) break;
          }
        } catch (error) {
          if (!isUserError(error)) throw error;
          io.stderr.write(`${error.message}\n`);
          messages.pop();
          text = '';
        }
        isAnswering = false;
        if (text !== '') messages.push({ role: 'assistant', content: text });
        else if (messages.at(-1)?.role === 'user') messages.pop();
        io.stdout.write(stopped ? ' …\n' : '\n');
      }
      if (io.stdin.isTTY) lines.prompt();
    }
  } finally {
    process.off('SIGINT', interrupt);
    lines.close();
  }
}
