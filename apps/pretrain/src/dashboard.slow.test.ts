/** `--dashboard` of the built command in headless Chromium, during a run. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setFlags } from '@meap/test-support';
import { chromium } from 'playwright-core';
import { afterAll, describe, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const executablePath = process.env.MEAP_CHROMIUM ?? '/usr/bin/chromium';
const cli = join(import.meta.dirname, '../dist/cli.js');
const missing = [executablePath, cli].find((path) => !existsSync(path));
if (missing) console.warn(`--dashboard is not tested: no ${missing}; install chromium and run pnpm build`);

const bench = new Workbench();
afterAll(() => bench.dispose());

describe.skipIf(missing)('--dashboard', () => {
  it('shows the live run, its masks and samples, and how it ended', async () => {
    const sets = ['train.max_steps=100000', `data.cache_dir=${bench.path('cache')}`, 'samples.every=50'];
    const flags = ['--dashboard', '0', '--json-logs'];
    const argv = ['--config', bench.recipe, '--out', bench.path('runs/live'), ...flags];
    const child = spawn(process.execPath, [cli, ...argv, ...setFlags(...sets)]);
    let stdout = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
    try {
      const soon = (read: () => unknown) => expect.poll(read, { timeout: 60_000, interval: 50 });
      await soon(() => stdout).toContain('"type":"dashboard"');
      const event = stdout.split('\n').find((line) => line.includes('"type":"dashboard"'))!;
      const { level, url } = JSON.parse(event);
      expect(level).toBe('info');
      // Charts outside the viewport are not drawn.
      const page = await browser.newPage({ viewport: { width: 1200, height: 2500 } });
      const errors: string[] = [];
      page.on('pageerror', ({ message }) => errors.push(message));
      page.on('console', (message) => {
        if (message.type() === 'error') errors.push(message.text());
      });
      await page.goto(url);
      const stepOf = async () =>
        Number(
          /^step ([\d,]+) of 100,000/
            .exec((await page.locator('.steps').textContent()) ?? '')?.[1]
            .replace(',', ''),
        );
      await soon(stepOf).toBeGreaterThan(0);
      const before = await stepOf();
      await soon(stepOf).toBeGreaterThan(before + 10);
      expect(await page.locator('.pill').textContent()).toBe('running');
      const titles = [
        'Loss',
        'Gradient norm',
        'Learning rate',
        'Tokens per second',
        'Memory',
        'Bits per byte',
      ];
      for (const title of titles) {
        const plot = page.locator(`.chart:has(h2:text-is("${title}")) .plot`);
        await soon(() => plot.getAttribute('aria-label')).toMatch(new RegExp(`^${title}: live \\d`));
      }
      // 15 % of 16 tokens: two masks per row.
      await soon(() => page.locator('#masks article').count()).toBe(2);
      expect(await page.locator('#masks h3').first().textContent()).toBe(
        'row 1: 16 tokens, 2 masked (12.5 %)',
      );
      expect(await page.locator('#masks mark').count()).toBeGreaterThan(0);
      await soon(() => page.locator('#samples blockquote').count()).toBe(2);
      expect(errors).toEqual([]);
      child.kill('SIGTERM');
      await soon(() => page.locator('#notice').textContent()).toMatch(
        /^The run was stopped at step \d+\. This page keeps/,
      );
      expect(await ended).toBe(143);
      expect(await page.locator('.pill').textContent()).toBe('stopped');
      expect(await stepOf()).toBeGreaterThan(before);
    } finally {
      child.kill('SIGKILL');
      await browser.close();
    }
  });
});
