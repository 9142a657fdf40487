import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeReport } from './report.ts';
import { syntheticReport } from './testing.ts';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);
if (!executablePath) console.warn('reports not tested in a browser: no Chromium in /usr/bin; install it');

describe.skipIf(!executablePath)('a report in a browser', () => {
  let browser: Browser;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'meap-browser-'));
    // A long name, and one with markup.
    const names = ['NTP', 'MEAP-1.1B-200B-tokens-with-a-name-that-does-not-end', '<b>"MEAP"</b>'];
    writeReport(await syntheticReport(names.slice(0, 2)), join(folder, 'report.html'));
    writeReport(await syntheticReport(names), join(folder, 'three.html'));
    // The sandbox does not work in containers.
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a page; returns its requests, messages and errors. */
  async function open(
    file: string,
    { width, colorScheme = 'light' }: { width: number; colorScheme?: 'light' | 'dark' },
    inspect: (page: Page) => Promise<void>,
  ): Promise<string[]> {
    const context = await browser.newContext({ viewport: { width, height: 850 }, colorScheme });
    const page = await context.newPage();
    const url = pathToFileURL(join(folder, file)).href;
    const events: string[] = [];
    page.on('console', (message) => events.push(message.text()));
    page.on('pageerror', (error) => events.push(error.message));
    page.on('request', (request) => {
      if (request.url() !== url) events.push(request.url());
    });
    await page.goto(url);
    await inspect(page);
    await context.close();
    return events;
  }

  for (const file of ['report.html', 'three.html']) {
    for (const width of [320, 390, 1280]) {
      it(`${file} fits ${width} pixels and shows every figure once, without errors`, async () => {
        const events = await open(file, { width }, async (page) => {
          const found = await page.evaluate(`({
            width: document.documentElement.scrollWidth,
            figures: [...document.querySelectorAll('figure')].map((figure) =>
              [...figure.querySelectorAll('[role=img]')].filter((drawing) => drawing.getBoundingClientRect().width > 250).length),
            overflowing: [...document.querySelectorAll('svg')].filter((svg) => svg.getBoundingClientRect().right > innerWidth).length,
            cut: [...document.querySelectorAll('svg text')].filter((text) => {
              const [box, svg] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
              return box.width > 0 && (box.left < svg.left - 1 || box.right > svg.right + 1);
            }).map((text) => text.textContent),
            hidden: [...document.querySelectorAll('table[style*="--columns: 3"] tbody td:last-child')].filter((cell) => {
              const { right, width } = cell.getBoundingClientRect();
              return width > 0 && right > innerWidth;
            }).length,
            small: [...document.querySelectorAll('svg')].filter((svg) => {
              const { width } = svg.getBoundingClientRect();
              return width > 0 && width < 0.75 * svg.viewBox.baseVal.width;
            }).length,
          })`);
          expect(found).toMatchObject({ width, overflowing: 0, cut: [], hidden: 0, small: 0 });
          const { figures } = found as { figures: number[] };
          expect(figures.length).toBeGreaterThan(10);
          expect(new Set(figures)).toEqual(new Set([1]));
        });
        expect(events).toEqual([]);
      });
    }
  }

  it('follows the colour scheme, also in figures', async () => {
    const colors: string[][] = [];
    for (const colorScheme of ['light', 'dark'] as const) {
      await open('report.html', { width: 1280, colorScheme }, async (page) => {
        const found = await page.evaluate(`[
          getComputedStyle(document.body).backgroundColor,
          getComputedStyle(document.body).color,
          getComputedStyle(document.querySelector('.wide svg [aria-label=dot] path, .wide svg [aria-label=dot] circle')).stroke,
          getComputedStyle(document.querySelector('.wide svg [aria-label=cell] rect')).fill,
          getComputedStyle(document.querySelector('.wide svg text')).fill,
        ]`);
        colors.push(found as string[]);
      });
    }
    const [light, dark] = colors;
    expect(light[0]).toBe('rgb(255, 255, 255)');
    for (const [i, color] of light.entries()) expect(dark[i], String(i)).not.toBe(color);
  });

  it('is printed in light colours', async () => {
    await open('report.html', { width: 1280, colorScheme: 'dark' }, async (page) => {
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
        'rgb(255, 255, 255)',
      );
      const pdf = await page.pdf({ format: 'A4' });
      expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
      expect(pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)!.length).toBeGreaterThan(4);
    });
  });

  it('has valid figure files', async () => {
    await open('report.html', { width: 1280 }, async (page) => {
      const names = readdirSync(join(folder, 'figures')).filter((name) => name.endsWith('.svg'));
      for (const name of names) {
        const content = readFileSync(join(folder, 'figures', name), 'utf8');
        expect(content).not.toMatch(/var\(|currentColor/);
        const root = await page.evaluate(
          `(() => { const found = new DOMParser().parseFromString(${JSON.stringify(content)}, 'image/svg+xml');
            return found.querySelector('parsererror')?.textContent ?? found.documentElement.namespaceURI; })()`,
        );
        expect(root, name).toBe('http://www.w3.org/2000/svg');
      }
    });
  });
});
