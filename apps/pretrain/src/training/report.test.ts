import { renderReportPage } from '@meap/recipe-cli';
import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../resolve-config.ts';
import { tinyRecipe } from '../testing.ts';
import { createProgress } from './progress.ts';
import { reportPage } from './report.ts';
import type { PretrainEvent } from './run.ts';
import type { RunFacts } from './run-facts.ts';

const step = (number: number, loss: number | null = 7 - number / 100) => ({
  step: number,
  tokens: number * 64,
  loss,
  lr: 1e-3,
  gradNorm: 1,
  tokensPerSecond: 1000,
  mfu: 0.4,
  residentBytes: 1e9,
  backendBytes: 5e8,
});
const facts = {
  parameters: 3_170_000,
  trainTokens: 1000,
  validationTokens: 100,
  unigramBitsPerByte: 2.678,
  steps: 200,
  tokensPerStep: 64,
  maskToken: undefined,
  documents: {
    empty: 3,
    duplicates: { count: 12, oneIn: 1 },
    spellings: { documents: 5, occurrences: 7 },
  },
} as RunFacts;

const render = (...args: Parameters<typeof reportPage>) => renderReportPage(reportPage(...args));

describe('reportPage', () => {
  const validations = [{ step: 200, tokens: 12_800, valLoss: 5.1, bitsPerByte: 1.836 }];
  const steps = Array.from({ length: 200 }, (_, i) => step(i + 1));
  const probes = [0, 200].map((step) => ({
    ...{ step, tokens: 64 * step, seconds: 1 },
    probes: { 'induction/gain': step / 400, 'recall/acc/pairs=4': 1 },
  }));
  const page = render(resolveConfig(tinyRecipe), facts, { steps, validations, probes }, [
    { step: 200, prompt: 'Call <me>', text: ' & "Ishmael"' },
  ]);

  it('names random tokens and the last step with masks', () => {
    const masking = { replace_with: 'random' as const, until: 0.5 };
    const other = render(
      resolveConfig({ ...tinyRecipe, masking }),
      facts,
      { steps, validations, probes },
      [],
    );
    expect(other).toContain('NTP, 15.0 % of inputs random tokens');
    expect(other).toContain('<td>per-sequence, ratio 0.15, random tokens, until step 3</td>');
    expect(page).toContain('<td>per-sequence, ratio 0.15</td>');
  });

  it('is a self-contained page with light and dark colours', () => {
    expect(page).not.toMatch(/https?:|src=|<link|<script|url\(/);
    expect(page).toContain('prefers-color-scheme: dark');
  });

  it('contains figures, curve, samples and configuration, escaped', () => {
    expect(page).toContain('<td>1.836</td>');
    expect(page).toContain('<td>2.678</td>');
    expect(page).toContain('LLaMA with 3.17M parameters, MEAP, 15.0 % of inputs masked');
    expect(page).toContain('<b>Call &lt;me&gt;</b> &amp; &quot;Ishmael&quot;');
    expect(page).toContain('strategy: per-sequence');
    const [, points] = /<polyline points="([^"]+)"/.exec(page)!;
    expect(points.split(' ')).toHaveLength(200);
    expect(points).not.toContain('NaN');
    // One validation, and two values of one probe.
    expect(page.match(/<circle [^>]*--second/g)).toHaveLength(1);
    expect(page.match(/<circle [^>]*--first/g)).toHaveLength(2);
    expect(page).toMatch(/<h2>Probes<\/h2>[\s\S]*<figcaption>induction gain<\/figcaption>/);
    expect(page.match(/<figcaption>/g)).toHaveLength(1);
  });

  it('renders a run without steps', () => {
    const empty = render(resolveConfig(tinyRecipe), facts, { steps: [], validations: [], probes: [] }, []);
    expect(empty).toContain('No steps yet');
    expect(empty).not.toContain('Probes');
  });
});

describe('createProgress', () => {
  const events: PretrainEvent[] = [
    { type: 'ready', ...facts, steps: 3 },
    ...[1, 2, 3].map((number) => ({ type: 'step', ...step(number) }) as const),
    { type: 'validation', step: 3, tokens: 1, valLoss: 5.1, bitsPerByte: 1.836 },
    { type: 'warning', message: 'x\u001b[2J' },
  ];

  it('writes few plain lines without a terminal', () => {
    const texts: string[] = [];
    const output = { write: (text: string) => void texts.push(text), interactive: false };
    const progress = createProgress(output, process.stderr);
    for (const event of events) progress.onEvent(event);
    progress.close();
    const written = texts.join('');
    const lines = written.split('\n').filter((line) => line.startsWith('step'));
    // The first and last step, and the validation.
    expect(lines.map((line) => line.slice(0, 32).trim())).toEqual(
      [
        'step       1 of 3   loss 6.990, 1',
        'step       3 of 3   loss 6.970, 1',
        'step       3 of 3   validation 1.',
      ].map((line) => line.slice(0, 32).trim()),
    );
    expect(written).not.toContain('\u001b');
  });
});
