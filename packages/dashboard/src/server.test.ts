import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DashboardOptions, startDashboard, startDashboardThread } from './dashboard.ts';
import type { Dashboard } from './server.ts';
import { MAX_ROWS } from './shared/table.ts';
import { ask, Listener, makeRun, makeStudy, type StreamEvent, stepLine } from './testing.ts';

let folder: string;
const open: { close(): unknown }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-dashboard-'));
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<DashboardOptions> = {}): Promise<Dashboard> {
  const dashboard = await startDashboard({ runs: [folder], port: 0, ...options });
  open.push(dashboard);
  return dashboard;
}

function listen(url: string, runs: readonly string[] = [], headers: Record<string, string> = {}): Listener {
  const listener = new Listener(url, runs, headers);
  open.push(listener);
  return listener;
}

const isCurves = ({ event }: StreamEvent) => event === 'curves';
const isRuns = ({ event }: StreamEvent) => event === 'runs';

/** Ids of the runs by name. */
async function idsOf(url: string): Promise<Record<string, string>> {
  const listener = listen(url);
  const { data } = await listener.next(isRuns);
  listener.close();
  return Object.fromEntries(data.changed.map(({ name, id }: { name: string; id: string }) => [name, id]));
}

describe('the web server', () => {
  it('serves the page and its files with a policy that blocks everything else', async () => {
    const { url } = await start();
    const page = await ask(url, '/');
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    const wanted = [...page.body.matchAll(/(?:src|href)="(\/[^"]*)"/g)].map(([, path]) => path);
    expect(wanted).toContain('/page/main.js');
    for (const path of [...wanted, '/uplot.js', '/shared/table.js']) {
      expect((await ask(url, path)).status, path).toBe(200);
    }
    // No file comes from another host.
    expect(page.body).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
  });

  it('refuses requests for other host names', async () => {
    const { url } = await start();
    const { port } = new URL(url);
    const statusAs = async (host: string, more = {}) =>
      (await ask(url, '/', { headers: { host, ...more } })).status;
    // Through a tunnel the port may differ.
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, 'localhost:8080', '[::1]:9']) {
      expect(await statusAs(host), host).toBe(200);
    }
    for (const host of [
      `evil.example:${port}`,
      'localhost.evil.example',
      '127.0.0.1.nip.io',
      'localhost@evil',
    ]) {
      expect(await statusAs(host), host).toBe(403);
    }
    const fetchedBy = (mode: string) => ({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': mode });
    expect(await statusAs('localhost', fetchedBy('no-cors'))).toBe(403);
    expect(await statusAs('localhost', fetchedBy('navigate'))).toBe(200);
  });

  it('accepts GET and HEAD only, and serves no other files', async () => {
    writeFileSync(join(folder, 'secret.txt'), 'secret');
    const { url } = await start();
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      expect(await ask(url, '/', { method })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    }
    expect(await ask(url, '/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
    const paths = [
      '/../package.json',
      '/page/../../package.json',
      '/..%2f..%2fpackage.json',
      '/page/%2e%2e/%2e%2e/package.json',
      '/secret.txt',
      '/page/',
      '/page',
      '//etc/passwd',
      '//',
      '/api/config?run=../secret.txt',
      '/api/config?run=',
      '/api/none',
      '/page/main.js%00',
    ];
    for (const path of paths) {
      const { status, body } = await ask(url, path);
      expect([400, 404], path).toContain(status);
      expect(body).not.toContain('secret');
    }
  });

  it('reports invalid ports and folders', async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    await expect(start({ port })).rejects.toThrow(
      `port ${port} is in use; choose another, or 0 for any free port`,
    );
    await expect(start({ port: 70_000 })).rejects.toThrow(
      'invalid port, got 70000, expected an integer from 0 to 65535',
    );
    await expect(start({ runs: [] })).rejects.toThrow('no folder given');
    await expect(start({ runs: [join(folder, 'none')] })).rejects.toThrow(
      'does not exist, expected a run directory or a folder',
    );
    writeFileSync(join(folder, 'file'), '');
    await expect(start({ runs: [join(folder, 'file')] })).rejects.toThrow('is not a folder');
    await expect(startDashboardThread({ runs: [folder], port })).rejects.toThrow(`port ${port} is in use`);
  });

  it('runs in a worker thread until closed', async () => {
    makeRun(folder, 'a', 3);
    const dashboard = await startDashboardThread({ runs: [folder], port: 0 });
    open.push(dashboard);
    const listener = listen(dashboard.url);
    expect((await listener.next(isRuns)).data.changed).toMatchObject([
      { name: 'a', step: 3, totalSteps: 1000 },
    ]);
    await dashboard.close('the run has finished');
    expect((await listener.next(({ event }) => event === 'end')).data).toEqual({
      reason: 'the run has finished',
    });
    await expect(ask(dashboard.url, '/')).rejects.toThrow('ECONNREFUSED');
    await dashboard.close();
  });
});

describe('the list of runs', () => {
  it('is initially empty, and follows runs that appear', async () => {
    const { url } = await start();
    const listener = listen(url);
    const first = (await listener.next(isRuns)).data;
    expect(first).toMatchObject({ changed: [], gone: [], primary: null, folders: [folder] });
    makeRun(folder, 'deep/er/run', 2);
    makeRun(folder, 'checkpointed', 1);
    mkdirSync(join(folder, '.hidden/run'), { recursive: true });
    writeFileSync(join(folder, '.hidden/run/metrics.jsonl'), stepLine(1));
    const second = (await listener.next(isRuns)).data;
    expect(second.changed.map(({ name }: { name: string }) => name).sort()).toEqual([
      'checkpointed',
      'deep/er/run',
    ]);
  });

  it('sends the matrix of a study with the runs of each cell, and again when a run ends', async () => {
    const study = makeStudy(folder, 'studies/few');
    makeRun(study, 'runs/meap/seed-1/pretrain', 2);
    const { url } = await start();
    const listener = listen(url);
    const first = (await listener.next(isRuns)).data;
    const [{ id }] = first.changed;
    expect(first.studies).toEqual([
      {
        name: 'studies/few',
        title: 'Few data',
        cells: [
          { arm: 'ntp', seed: 0, end: 'done', runs: [] },
          { arm: 'ntp', seed: 1, end: null, runs: [] },
          { arm: 'meap', seed: 0, end: null, runs: [] },
          { arm: 'meap', seed: 1, end: null, runs: [id] },
        ],
      },
    ]);
    mkdirSync(join(study, 'failures'));
    writeFileSync(join(study, 'failures/meap-seed-1.json'), '{}');
    const { changed, studies } = (await listener.next(isRuns)).data;
    expect(changed).toEqual([]);
    expect(studies[0].cells[3]).toMatchObject({ end: 'failed' });
  });

  it('shows a study with a damaged plan by its folder, without cells', async () => {
    const study = makeStudy(folder, 'few');
    writeFileSync(join(study, 'plan.yaml'), 'title: [');
    writeFileSync(join(study, 'runs.yaml'), 'seeds: {a: 1}');
    const listener = listen((await start()).url);
    expect((await listener.next(isRuns)).data.studies).toEqual([{ name: 'few', title: 'few', cells: [] }]);
  });

  it('follows runs that disappear', async () => {
    makeRun(folder, 'old', 1);
    const { url } = await start();
    const listener = listen(url);
    expect((await listener.next(isRuns)).data.changed).toHaveLength(1);
    rmSync(join(folder, 'old'), { recursive: true });
    expect((await listener.next(isRuns)).data).toMatchObject({ changed: [], gone: [expect.any(String)] });
  });

  it('does not follow links out of the folder', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'meap-outside-'));
    open.push({ close: () => rmSync(outside, { recursive: true }) });
    makeRun(outside, 'secret', 5);
    symlinkSync(join(outside, 'secret'), join(folder, 'linked'));
    const path = makeRun(folder, 'own', 1);
    for (const name of ['samples.jsonl', 'batch.json', 'environment.json']) {
      symlinkSync(join(outside, 'secret/metrics.jsonl'), join(path, name));
    }
    const { url } = await start();
    const ids = await idsOf(url);
    expect(Object.keys(ids)).toEqual(['own']);
    expect(JSON.parse((await ask(url, `/api/samples?run=${ids.own}`)).body)).toEqual({
      steps: [],
      step: null,
      rows: [],
    });
    expect((await ask(url, `/api/batch?run=${ids.own}`)).body).toBe('null');
  });

  it.skipIf(process.platform !== 'linux')(
    'distinguishes running, finished and stopped runs and estimates the time left',
    async () => {
      makeRun(folder, 'b', 1000);
      const here = {
        boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
        namespaces: ['pid', 'time'].map((name) => readlinkSync(`/proc/self/ns/${name}`)).join(' '),
      };
      const lock = (name: string, holder: object, changed = new Date()) => {
        writeFileSync(join(makeRun(folder, name, 10), 'run.lock'), JSON.stringify(holder));
        utimesSync(join(folder, name, 'run.lock'), changed, changed);
      };
      lock('a', { ...here, pid: process.pid }, new Date(0));
      lock('c', { ...here, pid: 2 ** 22 + 1 });
      // For a process on another machine only the file's time is available.
      lock('elsewhere', { pid: 1, boot: 'another' });
      lock('once elsewhere', { pid: process.pid, boot: 'another' }, new Date(0));
      const { url } = await start();
      const { data } = await listen(url).next(isRuns);
      const of = (name: string) => data.changed.find((run: { name: string }) => run.name === name);
      expect(of('a')).toMatchObject({ state: 'running', step: 10, totalSteps: 1000, tokensPerSecond: 1000 });
      // 990 steps of 100 tokens at 1000 a second.
      expect(of('a').secondsLeft).toBeCloseTo(99, 9);
      expect(of('b')).toMatchObject({ state: 'finished' });
      expect(of('c')).toMatchObject({ state: 'stopped' });
      expect(of('elsewhere')).toMatchObject({ state: 'running' });
      expect(of('once elsewhere')).toMatchObject({ state: 'stopped' });
    },
  );

  it('suggests the primary run even before it exists, then runs given, then the last', async () => {
    const a = makeRun(folder, 'a', 1);
    const b = makeRun(folder, 'b', 1);
    const suggested = async (options: Partial<DashboardOptions>) => {
      const { url } = await start(options);
      const { data } = await listen(url).next(isRuns);
      return data.suggested.map(
        (id: string) => data.changed.find((run: { id: string }) => run.id === id)?.name ?? 'not yet',
      );
    };
    expect(await suggested({ primary: join(folder, 'later') })).toEqual(['not yet']);
    expect(await suggested({ primary: a })).toEqual(['a']);
    expect((await suggested({ runs: [a, b] })).sort()).toEqual(['a', 'b']);
    expect(await suggested({})).toHaveLength(1);
  });
});

describe('the stream of curves', () => {
  it('sends all steps, then only new ones, and an incomplete line when it is complete', async () => {
    const path = makeRun(folder, 'a', 3);
    const { url } = await start();
    const { a } = await idsOf(url);
    const listener = listen(url, [a]);
    const all = (await listener.next(isCurves)).data;
    expect(all).toMatchObject({ run: a, isWhole: true, table: { step: [1, 2, 3], count: [1, 1, 1] } });
    const four = stepLine(4);
    appendFileSync(join(path, 'metrics.jsonl'), `${four}${stepLine(5).slice(0, 20)}`);
    const more = (await listener.next(isCurves)).data;
    expect(more).toMatchObject({
      isWhole: false,
      generation: all.generation,
      table: { step: [4], first: [3] },
    });
    appendFileSync(
      join(path, 'metrics.jsonl'),
      `${stepLine(5).slice(20)}{"step":5,"tokens":500,"valLoss":2,"bitsPerByte":1}\n`,
    );
    expect((await listener.next(isCurves)).data).toMatchObject({
      table: { step: [5] },
      validations: { valLoss: [2] },
    });
  });

  it('sends the corrected curve of a run that resumed from an earlier step', async () => {
    const path = makeRun(folder, 'a', 50);
    const { url } = await start();
    const { a } = await idsOf(url);
    const listener = listen(url, [a]);
    const { generation } = (await listener.next(isCurves)).data;
    const kept = Array.from({ length: 40 }, (_, i) => stepLine(i + 1)).join('');
    truncateSync(join(path, 'metrics.jsonl'), Buffer.byteLength(kept));
    for (let step = 41; step <= 60; step++)
      appendFileSync(join(path, 'metrics.jsonl'), stepLine(step, { loss: 1 }));
    const { data } = await listener.next(
      ({ event, data }) => event === 'curves' && data.table.step.at(-1) === 60,
    );
    expect(data.generation).not.toBe(generation);
    expect(data.table.step).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(data.table.metrics.loss.mean.slice(39, 42)).toEqual([expect.any(Number), 1, 1]);
  });

  it('continues after a lost connection, and restarts for a page of another server', async () => {
    const path = makeRun(folder, 'a', 30);
    const first = await start();
    const { a } = await idsOf(first.url);
    const listener = listen(first.url, [a]);
    const { id } = await listener.next(isCurves);
    listener.close();
    appendFileSync(join(path, 'metrics.jsonl'), stepLine(31));
    const again = (await listen(first.url, [a], { 'last-event-id': id }).next(isCurves)).data;
    expect(again).toMatchObject({ isWhole: false, table: { step: [31] } });
    const second = await start();
    const other = (await listen(second.url, [a], { 'last-event-id': id }).next(isCurves)).data;
    expect(other.isWhole).toBe(true);
    const forged = [',', '~~~', `${a}~x~9999999~0`, `${a}~${again.generation}~99999~7`, 'x'.repeat(3000)];
    for (const since of forged) {
      const { data } = await listen(first.url, [a], { 'last-event-id': since }).next(isCurves);
      expect(data.isWhole, since).toBe(true);
    }
  });

  it('sends a bounded number of rows for any length, and all rows of a requested part', async () => {
    const path = makeRun(folder, 'long', 0);
    let lines = '';
    for (let step = 1; step <= 50_000; step++) lines += stepLine(step, step === 31_417 ? { loss: 99 } : {});
    writeFileSync(join(path, 'metrics.jsonl'), lines);
    const { url } = await start();
    const { long } = await idsOf(url);
    const { data } = await listen(url, [long]).next(isCurves);
    expect(data.table.first.length).toBeLessThanOrEqual(MAX_ROWS);
    expect(data.table.step.at(-1)).toBe(50_000);
    expect(Math.max(...data.table.metrics.loss.high)).toBe(99);
    const part = (more: string) => ask(url, `/api/curves?run=${long}&generation=${data.generation}&${more}`);
    const fine = JSON.parse((await part('from=31400&to=31450')).body);
    expect(fine.step).toEqual(Array.from({ length: 50 }, (_, i) => 31_401 + i));
    expect(fine.metrics.loss.mean[16]).toBe(99);
    expect((await part('from=9&to=3')).status).toBe(400);
    expect((await part('from=x&to=3')).status).toBe(400);
    expect(JSON.parse((await part('from=999999999&to=9999999999')).body).step).toEqual([]);
    expect((await ask(url, `/api/curves?run=${long}&generation=other&from=0&to=5`)).status).toBe(409);
  });

  it('allows at most 32 streams at a time', async () => {
    const { url } = await start();
    const listeners = Array.from({ length: 32 }, () => listen(url));
    await Promise.all(listeners.map((listener) => listener.next(isRuns)));
    expect((await ask(url, '/api/stream')).status).toBe(503);
    for (const listener of listeners) listener.close();
    await listen(url)
      .next(isRuns)
      .catch(() => listen(url).next(isRuns));
  });
});

describe('samples, configuration and batches', () => {
  it('are returned as text, samples by step, by default the last', async () => {
    const path = makeRun(folder, 'a', 3, 'train:\n  max_steps: 7\nname: <b>\nlist: [1, 2]\n');
    const line = (step: number, prompt: string, text: string) =>
      `${JSON.stringify({ step, prompt, text })}\n`;
    writeFileSync(
      join(path, 'samples.jsonl'),
      `${line(1, 'p', 'é1')}${line(3, 'p', 'é3')}${JSON.stringify({ step: 3, prompt: 'q', text: '<i>', reference: 'r' })}\nnot JSON\n`,
    );
    writeFileSync(join(path, 'batch.json'), JSON.stringify({ step: 2, rows: [] }));
    const { url } = await start();
    const { a } = await idsOf(url);
    const get = async (what: string) => JSON.parse((await ask(url, `/api/${what}`)).body);
    expect(await get(`samples?run=${a}`)).toEqual({
      steps: [1, 3],
      step: 3,
      rows: [
        { prompt: 'p', text: 'é3' },
        { prompt: 'q', text: '<i>', reference: 'r' },
      ],
    });
    expect((await get(`samples?run=${a}&step=1`)).rows).toEqual([{ prompt: 'p', text: 'é1' }]);
    expect((await get(`samples?run=${a}&step=2`)).step).toBe(3);
    expect(await get(`config?run=${a}`)).toEqual({ 'train.max_steps': '7', name: '<b>', list: '[1,2]' });
    expect(await get(`batch?run=${a}`)).toEqual({ step: 2, rows: [] });
    writeFileSync(join(path, 'batch.json'), '{"step":2,');
    writeFileSync(join(path, 'config.yaml'), 'a: [1\n');
    expect(await get(`batch?run=${a}`)).toBeNull();
    expect(await get(`config?run=${a}`)).toEqual({});
  });

  it('are skipped if the files are too large', async () => {
    const path = makeRun(folder, 'a', 1, `name: ${'x'.repeat(2 ** 21)}\n`);
    writeFileSync(join(path, 'batch.json'), `{"step":1,"rows":[],"x":"${'x'.repeat(2 ** 21)}"}`);
    const { url } = await start();
    const { a } = await idsOf(url);
    expect((await ask(url, `/api/config?run=${a}`)).body).toBe('{}');
    expect((await ask(url, `/api/batch?run=${a}`)).body).toBe('null');
  });
});
