import { renderReportPage } from '@meap/recipe-cli';
import { expect, it } from 'vitest';
import { reportPage } from './report.ts';
import { resolveConfig } from './resolve-config.ts';
import type { RunFacts } from './run-facts.ts';

const render = (...args: Parameters<typeof reportPage>) => renderReportPage(reportPage(...args));
const facts = {
  parameters: 3_200_000_000,
  trained: 24_000_000,
  trainConversations: 98,
  validationConversations: 2,
  epochs: 2,
  template: { name: 'alpaca', endOfAnswer: '</s>', addsEos: false },
  duplication: { numCopies: 50, numMasked: 400 },
} as RunFacts;
const steps = [1, 2, 3].map((step) => ({
  step,
  tokens: 100 * step,
  loss: 3 - step / 2,
  lr: 1,
  gradNorm: 1,
  tokensPerSecond: 10,
  mfu: null,
  residentBytes: 1e9,
  backendBytes: 5e8,
}));
const validations = [{ step: 3, tokens: 300, valLoss: 1.25, bitsPerByte: 1, parts: { masked: 1.5 } }];
const config = resolveConfig({ model: { path: 'm' }, data: { files: ['f'] }, lora: { rank: 8 } });

it('shows both losses and the answers before and after training, escaped', () => {
  const page = render(config, facts, {
    metrics: {
      steps,
      validations,
      probes: [{ step: 3, tokens: 300, probes: { 'recall/acc': 1 }, seconds: 1 }],
    },
    baseline: { valLoss: 2.5, maskedLoss: 3, samples: [{ prompt: 'Why <b>?', text: 'no idea' }] },
    samples: [{ step: 3, prompt: 'Why <b>?', text: 'Because & so' }],
  });
  expect(page).toContain('2.500 → 1.250');
  expect(page).toContain('3.000 → 1.500');
  // Two dots each: before the first step and at the last.
  expect(page.match(/<circle [^>]*--second/g)).toHaveLength(2);
  expect(page.match(/<circle [^>]*--third/g)).toHaveLength(2);
  expect(page).toContain('<h3>Why &lt;b&gt;?</h3>');
  expect(page).toMatch(/Before[\s\S]*no idea[\s\S]*After[\s\S]*Because &amp; so/);
  expect(page).toContain('LoRA of rank 8');
  expect(page).toContain('<figcaption>recall acc</figcaption>');
  expect(page).not.toMatch(/https?:|src=|<link|<script|url\(/);
});

it('renders a run without masks and baseline', () => {
  const ntp = resolveConfig({ model: { path: 'm' }, data: { files: ['f'] }, masking: { ratio: 0 } });
  const page = render(ntp, facts, {
    metrics: { steps: [], validations: [], probes: [] },
    baseline: undefined,
    samples: [],
  });
  expect(page).toContain('No steps yet');
  expect(page).not.toContain('Probes');
  expect(page).toContain('fine-tuned with NTP');
});
