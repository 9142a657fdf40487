// @vitest-environment node
/** The built page in headless Chromium. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const dist = join(import.meta.dirname, '../dist');
const executablePath = process.env.MEAP_CHROMIUM ?? '/usr/bin/chromium';
const missing = [executablePath, join(dist, 'index.html')].find((path) => !existsSync(path));
if (missing) console.warn(`demo not tested: ${missing} is missing; install chromium and run pnpm build`);
const checkpoint = join(process.env.MEAP_DATA ?? '', 'models/stories260K');

const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

describe.skipIf(missing)('the demo', () => {
  const profile = mkdtempSync(join(tmpdir(), 'meap-demo-'));
  const errors: string[] = [];
  let server: Server;
  let browser: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      const path = normalize(request.url === '/' ? '/index.html' : (request.url ?? ''));
      const body = await readFile(join(dist, path)).catch(() => undefined);
      response
        .writeHead(body ? 200 : 404, { 'content-type': TYPES[extname(path)] ?? 'text/plain' })
        .end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await chromium.launchPersistentContext(profile, {
      executablePath,
      args: [
        '--no-sandbox',
        '--disable-gpu-sandbox',
        '--enable-unsafe-webgpu',
        '--use-webgpu-adapter=swiftshader',
        // As in Node (tensor-kernels, webgpu/device.ts): compiles kernels in a tenth of the time.
        '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
      ],
    });
    page = await browser.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('404')) errors.push(message.text());
    });
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const isReady = () => page.locator('#train').isEnabled();
    await vi.waitUntil(async () => errors.length > 0 || isReady(), { timeout: 240_000 });
    expect(errors).toEqual([]);
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
    rmSync(profile, { recursive: true, force: true });
  });

  const textOf = (selector: string) => page.locator(selector).textContent();
  const wait = { timeout: 240_000 };

  it('runs on WebGPU', async () => {
    expect(await textOf('#backend')).toMatch(/^webgpu: /);
  });

  it('trains with decreasing loss and draws masks and curve', async () => {
    await page.click('#train');
    await page.waitForFunction(
      () => /^step ([5-9]|\d\d),/.test(document.querySelector('#progress')!.textContent!),
      undefined,
      wait,
    );
    await page.click('#train');
    await page.waitForFunction(
      () => document.querySelector('#train')!.textContent === 'Train',
      undefined,
      wait,
    );
    const losses = await page.locator('#curve path').getAttribute('d');
    const heights = losses!
      .split(/[ML]/)
      .filter(Boolean)
      .map((point) => Number(point.split(',')[1]));
    // SVG coordinates increase downwards.
    expect(heights.at(-1)).toBeGreaterThan(heights[0] + 20);
    // 15 % of 64 bytes.
    expect(await page.locator('#masks mark').count()).toBe(9);
    expect(await textOf('#sample')).toMatch(/^Call me /);
  });

  it.skipIf(!existsSync(checkpoint))('generates the golden text of a checkpoint', async () => {
    const names = ['config.json', 'model.safetensors', 'tokenizer.json'];
    await page.setInputFiles(
      '#files',
      names.map((name) => join(checkpoint, name)),
    );
    await page.waitForSelector('#generate:enabled', wait);
    expect(await textOf('#loaded')).toBe('0.26 M parameters');
    const golden = JSON.parse(readFileSync(join(checkpoint, 'golden.json'), 'utf8'));
    await page.fill('#prompt', golden.prompt);
    await page.click('#generate');
    const tokenizer = new Tokenizer(JSON.parse(readFileSync(join(checkpoint, 'tokenizer.json'), 'utf8')), {});
    const expected = tokenizer.decode(golden.greedy_ids, { skip_special_tokens: true });
    await page.waitForFunction(
      (text) => document.querySelector('#text')!.textContent!.includes(text),
      expected,
      wait,
    );
  });

  it('reports a missing file', async () => {
    await page.setInputFiles('#files', [join(dist, 'index.html')]);
    await page.waitForFunction(() =>
      document.querySelector('#loaded')!.textContent!.includes('config.json is missing'),
    );
  });

  it('logs no errors', async () => {
    if (process.env.MEAP_SCREENSHOT)
      await page.screenshot({ path: process.env.MEAP_SCREENSHOT, fullPage: true });
    expect(errors).toEqual([]);
  });
});
