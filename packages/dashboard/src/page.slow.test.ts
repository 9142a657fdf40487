/** The page in headless Chromium with artificial runs; `apps/pretrain` tests it with a real run. */
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startDashboard } from './dashboard.ts';
import type { Dashboard } from './server.ts';
import { makeRun, makeStudy, stepLine } from './testing.ts';

const executablePath = process.env.MEAP_CHROMIUM ?? '/usr/bin/chromium';
const built = join(import.meta.dirname, '../dist/modules/page/main.js');
const missing = [executablePath, built].find((path) => !existsSync(path));
if (missing)
  console.warn(
    `page of the dashboard not tested: ${missing} is missing; install chromium and run pnpm build`,
  );

const LOSS = '.chart:has-text("Loss") >> nth=0';

describe.skipIf(missing)('the page', () => {
  let browser: Browser;
  let folder: string;
  let dashboard: Dashboard | undefined;
  let page: Page;
  let errors: string[];

  beforeAll(async () => {
    const args = [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
    ];
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser?.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'meap-page-'));
    errors = [];
  });
  afterEach(async () => {
    await page?.context().close();
    await dashboard?.close();
    dashboard = undefined;
    rmSync(folder, { recursive: true, force: true });
    expect(errors).toEqual([]);
  });

  async function open(url: string, { width = 1400, height = 1000, tolerates = /^$/ } = {}): Promise<void> {
    const context = await browser.newContext({ viewport: { width, height } });
    page = await context.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    page.on('console', (message) => {
      const isAlarming = message.type() === 'error' || message.type() === 'warning';
      if (isAlarming && !tolerates.test(message.text())) errors.push(message.text());
    });
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) =>
        console.error(`policy: ${event.violatedDirective}`),
      );
    });
    await page.goto(url);
  }

  const show = async (options: Parameters<typeof open>[1] = {}) => {
    dashboard = await startDashboard({ runs: [folder], port: 0 });
    await open(dashboard.url, options);
  };
  // waitForFunction evaluates text, which the page's policy forbids.
  const labelOf = async (chart: string) =>
    (await page.locator(`${chart} >> .plot`).getAttribute('aria-label')) ?? '';
  const soon = (read: () => Promise<unknown>) => expect.poll(read, { timeout: 20_000, interval: 50 });
  const check = (name: string) => page.getByLabel(`Show ${name}`, { exact: true }).check();

  it('follows new steps and a run that restarts at an earlier step', async () => {
    const path = makeRun(folder, 'live', 5);
    const metrics = join(path, 'metrics.jsonl');
    await show();
    await soon(() => labelOf(LOSS)).toMatch(/^Loss: live 6\.\d+\./);
    await soon(() => page.locator('.steps').textContent()).toBe('step 5 of 1,000');
    const kept = readFileSync(metrics).length;
    for (let step = 6; step < 60; step++) appendFileSync(metrics, stepLine(step, { loss: 3 }));
    await soon(() => page.locator('.steps').textContent()).toBe('step 59 of 1,000');
    appendFileSync(metrics, '{"step":59,"tokens":5900,"valLoss":2.5,"bitsPerByte":1.25}\n');
    await soon(() => labelOf(LOSS)).toContain('live 2.5');
    await soon(() => labelOf('.chart:has-text("Bits per byte")')).toContain('live 1.25');
    truncateSync(metrics, kept);
    for (let step = 6; step < 20; step++) appendFileSync(metrics, stepLine(step, { loss: 9 }));
    await soon(() => page.locator('.steps').textContent()).toBe('step 19 of 1,000');
    // Without smoothing, the last value is displayed.
    await page.locator('#smoothing').fill('0');
    await soon(() => labelOf(LOSS)).toBe('Loss: live 9. Arrow keys move, plus and minus zoom.');
  });

  it('draws a chart for each value of probes, by name after the losses', async () => {
    const probe = (step: number, probes: object) =>
      `${JSON.stringify({ step, tokens: step * 100, probes, seconds: 1 })}\n`;
    for (const name of ['one', 'two']) {
      const metrics = join(makeRun(folder, name, 0), 'metrics.jsonl');
      appendFileSync(metrics, probe(0, { 'recall/acc': 0.25, 'recall/acc/pairs=4': 1 }));
      for (let step = 1; step <= 5; step++) appendFileSync(metrics, stepLine(step));
    }
    const metrics = join(folder, 'one', 'metrics.jsonl');
    appendFileSync(metrics, probe(5, { 'recall/acc': 0.5 }));
    await show();
    await check('one');
    await check('two');
    const chart = (title: string) => `.chart:has(h2:text-is("${title}"))`;
    await soon(() => labelOf(chart('recall acc'))).toMatch(/one 0\.5, two 0\.25|two 0\.25, one 0\.5/);
    appendFileSync(metrics, probe(6, { 'induction/gain': 0.125 }));
    await soon(() => labelOf(chart('induction gain'))).toContain('induction gain: one 0.125.');
    const titles = await page.locator('.chart:visible h2').allTextContents();
    expect(titles.slice(0, 4)).toEqual(['Loss', 'induction gain', 'recall acc', 'Gradient norm']);
    await page.getByLabel('Show one', { exact: true }).uncheck();
    await soon(() => page.locator(chart('induction gain')).isHidden()).toBe(true);
    await soon(() => labelOf(chart('recall acc'))).toContain('recall acc: two 0.25.');
  });

  it('shows runs when they appear, and one that is silent', async () => {
    await show();
    await soon(() => page.locator('#empty').textContent()).toContain(`No runs in ${folder} yet`);
    const path = makeRun(folder, 'first', 3);
    writeFileSync(join(path, 'run.lock'), JSON.stringify({ pid: process.pid, host: 'another' }));
    await soon(() => labelOf(LOSS)).toContain('first');
    await soon(() => page.locator('.pill').textContent()).toBe('running');
    const { utimesSync } = await import('node:fs');
    const past = Date.now() / 1000 - 300;
    utimesSync(join(path, 'metrics.jsonl'), past, past);
    await soon(() => page.locator('.pill').textContent()).toMatch(/^silent for 5 m/);
  });

  it('does not execute names, samples, configurations or batches', async () => {
    const attack = '<img src=x onerror=alert(1)>';
    const script = '"><script>globalThis.pwned = 1</script>';
    for (const name of [attack, 'plain']) {
      const path = makeRun(
        folder,
        name,
        3,
        `key: ${JSON.stringify(`${script} of ${name}`)}\n${JSON.stringify(attack)}: 1\n`,
      );
      appendFileSync(join(path, 'metrics.jsonl'), stepLine(4, { anomaly: attack, loss: null }));
      const sample = { step: 3, prompt: script, text: `${attack}\u202e` };
      writeFileSync(join(path, 'samples.jsonl'), `${JSON.stringify(sample)}\n`);
      const pieces = [
        { text: script, kind: 'masked' },
        { text: attack, kind: 'prompt', part: attack },
      ];
      writeFileSync(
        join(path, 'batch.json'),
        JSON.stringify({ step: 3, rows: [{ numTokens: 2, numMasked: 1, pieces }] }),
      );
      const environment = { backend: { name: attack, device: script }, run: { steps: 10 } };
      writeFileSync(join(path, 'environment.json'), JSON.stringify(environment));
    }
    let dialogs = 0;
    await show();
    page.on('dialog', (dialog) => {
      dialogs++;
      void dialog.dismiss();
    });
    await check(attack);
    await check('plain');
    await soon(() => page.locator('#samples blockquote').textContent()).toContain(script);
    await soon(() => page.locator('#masks').textContent()).toContain(script);
    await soon(() => page.locator('#differences').textContent()).toContain(`${script} of ${attack}`);
    await soon(() => page.locator('.problems').textContent()).toContain(attack);
    expect(await page.locator('img, script:not([src]):not([type=importmap])').count()).toBe(0);
    expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
    expect(dialogs).toBe(0);
  });

  it('draws 100,000 steps with a bounded number of elements, and every step of a zoomed part', async () => {
    const path = makeRun(folder, 'long', 0);
    const lines = Array.from({ length: 100_000 }, (_, i) =>
      stepLine(i + 1, i === 77_776 ? { loss: 50 } : { loss: 3 }),
    );
    writeFileSync(join(path, 'metrics.jsonl'), lines.join(''));
    await show();
    await soon(() => labelOf(LOSS)).toContain('long 3');
    expect(await page.locator('*').count()).toBeLessThan(700);
    const plot = page.locator(`${LOSS} >> .plot`);
    await page.locator('#smoothing').fill('0');
    const { x, y, width } = (await plot.boundingBox())!;
    const [left, wide] = [x + 58, width - 58 - 18];
    const drag = async (from: number, to: number, [low, high]: [number, number]) => {
      const positionOf = (step: number) => left + (wide * (step - low)) / (high - low);
      await page.mouse.move(positionOf(from), y + 60);
      await page.mouse.down();
      await page.mouse.move(positionOf(to), y + 60, { steps: 5 });
      await page.mouse.up();
    };
    await drag(77_000, 79_000, [1, 100_000]);
    await soon(() => page.locator('#controls').textContent()).toContain('Zoomed');
    await drag(77_700, 77_850, [77_000, 79_000]);
    // The spike of one step is found by the cursor once finer rows have been fetched.
    const readout = page.locator(`${LOSS} >> .readout`);
    await soon(async () => {
      for (let at = 0; at < wide; at += 3) {
        await page.mouse.move(left + at, y + 100);
        const text = (await readout.textContent()) ?? '';
        if (text.startsWith('step 77,777')) return text;
      }
      return '';
    }).toBe('step 77,77750');
    await plot.focus();
    await page.keyboard.press('Escape');
    await soon(() => page.locator('#controls').textContent()).toContain('Drag over a chart');
    appendFileSync(join(path, 'metrics.jsonl'), stepLine(100_001, { loss: 7 }));
    await page.mouse.move(5, 5);
    await soon(() => labelOf(LOSS)).toContain('long 7');
  });

  it('reconnects when its server is back, with a notice in the meantime', async () => {
    const path = makeRun(folder, 'a', 5);
    await show({ tolerates: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET/ });
    await soon(() => labelOf(LOSS)).toContain('Loss: a');
    const { url } = dashboard!;
    await dashboard!.close('the run was stopped at step 5');
    await soon(() => page.locator('#notice').textContent()).toContain('The run was stopped at step 5.');
    expect(await page.locator('#notice').textContent()).toContain(`meap-dashboard ${folder}`);
    expect(await labelOf(LOSS)).toContain('Loss: a');
    for (let step = 6; step <= 9; step++) appendFileSync(join(path, 'metrics.jsonl'), stepLine(step));
    dashboard = await startDashboard({ runs: [folder], port: Number(new URL(url).port) });
    await soon(() => page.locator('.steps').textContent()).toBe('step 9 of 1,000');
    await soon(() => page.locator('#notice').isHidden()).toBe(true);
  });

  it('switches to the next run on its port', async () => {
    makeRun(folder, 'first', 5);
    dashboard = await startDashboard({ runs: [folder], primary: join(folder, 'first'), port: 0 });
    await open(dashboard.url, {
      tolerates: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET/,
    });
    await soon(() => page.locator('h1').textContent()).toBe('first');
    await soon(() => labelOf(LOSS)).toContain('first');
    const port = Number(new URL(dashboard.url).port);
    await dashboard.close('the run has finished');
    const second = join(folder, 'second');
    dashboard = await startDashboard({ runs: [folder], primary: second, port });
    await soon(() => page.locator('#notice').isHidden()).toBe(true);
    makeRun(folder, 'second', 7);
    await soon(() => page.locator('h1').textContent()).toBe('second');
    await soon(() => labelOf(LOSS)).toMatch(/first \d.*second \d/);
  });

  it('compares runs with a colour each and their differences, and keeps the selection', async () => {
    makeRun(folder, 'meap', 50, 'masking:\n  ratio: 0.15\nseed: 1\n');
    makeRun(folder, 'ntp', 40, 'masking:\n  ratio: 0\nseed: 1\n');
    await show();
    await check('meap');
    await check('ntp');
    await soon(() => labelOf(LOSS)).toMatch(/meap \d.*ntp \d|ntp \d.*meap \d/);
    const colors = await page
      .locator(`${LOSS} >> .readout .value`)
      .evaluateAll((values) => values.map((value) => (value as HTMLElement).style.color));
    expect(new Set(colors).size).toBe(2);
    const rows = page.locator('#differences tbody tr');
    await soon(() => rows.count()).toBe(1);
    expect(await rows.first().textContent()).toMatch(/^masking\.ratio(0\.150|00\.15)$/);
    await page.getByRole('button', { name: 'Tokens', exact: true }).click();
    await page.getByRole('button', { name: 'ntp', exact: true }).click();
    await soon(() => page.locator('h1').textContent()).toBe('ntp');
    await page.reload();
    await soon(() => labelOf(LOSS)).toMatch(/meap \d.*ntp \d|ntp \d.*meap \d/);
    expect(await page.locator('h1').textContent()).toBe('ntp');
    expect(await page.getByRole('button', { name: 'Tokens', exact: true }).getAttribute('aria-pressed')).toBe(
      'true',
    );
    await page.getByLabel('Show meap', { exact: true }).uncheck();
    await soon(() => labelOf(LOSS)).not.toContain('meap');
    expect(await page.locator('#differences').isHidden()).toBe(true);
  });

  it('shows the matrix of a study, whose cells select runs', async () => {
    const study = makeStudy(folder, 'few');
    makeRun(study, 'runs/meap/seed-1/pretrain', 20);
    await show();
    const matrix = page.locator('#studies table');
    await soon(() => matrix.locator('tbody tr').allTextContents()).toEqual([
      'ntpdonewaiting',
      'meapwaitingstopped',
    ]);
    expect(await page.locator('#studies h2').textContent()).toBe('Few data few, 1 of 4 runs done');
    const cell = page.getByRole('button', { name: 'meap, seed 1: stopped' });
    const isPressed = () => cell.getAttribute('aria-pressed');
    await soon(isPressed).toBe('true');
    await cell.click();
    await soon(isPressed).toBe('false');
    await cell.click();
    await soon(() => labelOf(LOSS)).toContain('few/meap/seed-1/pretrain');
    await soon(isPressed).toBe('true');
    writeFileSync(join(study, 'results/meap-seed-1.json'), '{}');
    await soon(() => page.locator('#studies h2').textContent()).toContain('2 of 4 runs done');
  });

  it('fits a phone screen', async () => {
    const path = makeRun(folder, `a-run-with-a-name-${'of-no-end-'.repeat(12)}`, 50);
    const text = 'w'.repeat(500);
    writeFileSync(join(path, 'samples.jsonl'), `${JSON.stringify({ step: 3, prompt: text, text })}\n`);
    const pieces = [{ text, kind: 'masked' }];
    writeFileSync(
      join(path, 'batch.json'),
      JSON.stringify({ step: 3, rows: [{ numTokens: 9, numMasked: 9, pieces }] }),
    );
    await show({ width: 360, height: 740 });
    await soon(() => labelOf(LOSS)).toContain('Loss: a-run');
    await soon(() => page.locator('#masks mark').count()).toBe(1);
    await soon(() => page.locator('#samples blockquote').count()).toBe(1);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  });
});
