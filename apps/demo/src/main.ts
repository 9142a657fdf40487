/** The event handlers of the page. */
import { generate } from '@meap/llama-model';
import { describeBackend, setBackend } from '@meap/tensor-kernels';
import { type Checkpoint, loadCheckpoint } from './checkpoint.ts';
import { drawCurve } from './curve.ts';
import { MASK_ID, train } from './training.ts';

const SAMPLE_EVERY = 5;
const MAX_NEW_TOKENS = 60;

const element = <T extends Element>(id: string) => document.getElementById(id) as unknown as T;
const [trainButton, generateButton] = ['train', 'generate'].map((id) => element<HTMLButtonElement>(id));
const [filesInput, promptInput, ratioInput] = ['files', 'prompt', 'ratio'].map((id) =>
  element<HTMLInputElement>(id),
);

/** Runs `work` and displays an error in the status element. */
async function attempt(status: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    element(status).textContent = error instanceof Error ? error.message : String(error);
  }
}

let running: AbortController | undefined;

async function startTraining(): Promise<void> {
  if (running) {
    running.abort();
    return;
  }
  running = new AbortController();
  trainButton.textContent = 'Stop';
  const losses: number[] = [];
  try {
    const options = {
      ratio: Number(ratioInput.value) / 100,
      signal: running.signal,
      sampleEvery: SAMPLE_EVERY,
    };
    for await (const { loss, inputs, targets, tokensPerSecond, sample } of train(options)) {
      losses.push(loss / Math.LN2);
      element('progress').textContent =
        `step ${losses.length}, ${losses.at(-1)!.toFixed(2)} bits per byte, ${Math.round(tokensPerSecond)} bytes/s`;
      drawCurve(element<SVGElement>('curve'), losses);
      showRow(inputs, targets);
      if (sample !== undefined) element('sample').textContent = sample;
    }
  } finally {
    running = undefined;
    trainButton.textContent = 'Train';
  }
}

/** Displays a row; the original of a masked byte is the target of the previous position. */
function showRow(inputs: Int32Array, targets: Int32Array): void {
  const nodes = [...inputs].map((id, i) => {
    const hidden = i > 0 ? targets[i - 1] : 32;
    if (id !== MASK_ID) return String.fromCharCode(id);
    const mark = document.createElement('mark');
    mark.textContent = String.fromCharCode(hidden);
    return mark;
  });
  element('masks').replaceChildren(...nodes);
}

let checkpoint: Checkpoint | undefined;

async function load(): Promise<void> {
  const status = element('loaded');
  status.textContent = 'loading …';
  generateButton.disabled = true;
  checkpoint?.model.dispose();
  checkpoint = undefined;
  checkpoint = await loadCheckpoint([...(filesInput.files ?? [])]);
  status.textContent = `${(checkpoint.numParameters / 1e6).toFixed(2)} M parameters`;
  generateButton.disabled = false;
}

async function continueText(): Promise<void> {
  if (!checkpoint) return;
  generateButton.disabled = true;
  try {
    const { model, tokenizer } = checkpoint;
    const ids = tokenizer.encode(promptInput.value).ids;
    const room = model.config.max_position_embeddings - ids.length;
    for await (const id of generate(model, [...ids], { maxNewTokens: Math.min(MAX_NEW_TOKENS, room) })) {
      ids.push(id);
      element('text').textContent = tokenizer.decode(ids, { skip_special_tokens: true });
    }
  } finally {
    generateButton.disabled = false;
  }
}

trainButton.addEventListener('click', () => attempt('progress', startTraining));
filesInput.addEventListener('change', () => attempt('loaded', load));
generateButton.addEventListener('click', () => attempt('text', continueText));

await attempt('backend', async () => {
  await setBackend('webgpu').catch(() => setBackend('auto'));
  const { name, device, reason } = describeBackend();
  element('backend').textContent = `${name}: ${device} (${reason})`;
  trainButton.disabled = false;
  filesInput.disabled = false;
});
