/** The header: state of the focused run and of the connection. */

import { bytes, counted, duration, grouped, percent, plain, short } from '../shared/format.ts';
import { lastValue } from './curves.ts';
import { byId, el, setText } from './dom.ts';
import { focusedRun, type KnownRun, state } from './state.ts';

/** A run is silent if it has written nothing for this long and for ten times the duration of a step. */
const SILENT_SECONDS = 30;

const title = el('h1', {});
const pill = el('span', { className: 'pill' });
const device = el('span', { className: 'quiet device' });
const bar = el('progress', { max: 1, value: 0, 'aria-label': 'Steps done' });
const steps = el('span', { className: 'steps' });
const figures = el('dl', { className: 'figures' });
const problems = el('p', { className: 'problems', hidden: true });

export function initHeader(): void {
  byId('header').append(
    el('div', { className: 'title' }, title, pill, device),
    el('div', { className: 'progress' }, bar, steps),
    figures,
    problems,
  );
}

/** Draws the current state; called every second, since durations change. */
export function updateHeader(): void {
  const run = focusedRun();
  const name = run?.name ?? 'meap dashboard';
  setText(title, name);
  const { text, kind } = run ? statusOf(run) : { text: '', kind: '' };
  document.title = run ? `${text}: ${name}` : name;
  setText(pill, text);
  pill.className = `pill ${kind}`;
  pill.hidden = !run;
  setText(
    device,
    [run?.parameters && `${short(run.parameters)} parameters`, run?.device].filter(Boolean).join(', '),
  );
  const hasSteps = run !== undefined && run.step > 0;
  bar.hidden = !hasSteps || run.totalSteps === null;
  if (run?.totalSteps) bar.value = Math.min(1, run.step / run.totalSteps);
  setText(steps, hasSteps ? stepsText(run) : '');
  drawFigures(run);
  drawProblems(run);
  drawNotice();
}

/** Returns the status of a run as text and as a class name. */
export function statusOf(run: KnownRun): { text: string; kind: string } {
  if (state.connection === 'ended' || state.connection === 'lost') {
    if (run.state === 'running') return { text: 'disconnected', kind: 'stopped' };
  }
  if (run.state !== 'running') return { text: run.state, kind: run.state };
  if (run.step === 0) return { text: 'starting', kind: 'running' };
  const silent = (run.silentSeconds ?? 0) + (performance.now() - run.receivedAt) / 1000;
  const perStep = run.tokensPerSecond ? run.tokens / run.step / run.tokensPerSecond : 0;
  if (silent <= Math.max(SILENT_SECONDS, 10 * perStep)) return { text: 'running', kind: 'running' };
  return { text: `silent for ${duration(silent)}`, kind: 'silent' };
}

function stepsText(run: KnownRun): string {
  const { step, totalSteps, secondsLeft, state: runState } = run;
  if (totalSteps === null) return `step ${grouped(step)}`;
  const left =
    runState === 'running' && secondsLeft !== null && step < totalSteps && state.connection === 'live';
  return `step ${grouped(step)} of ${grouped(totalSteps)}${left ? `, about ${duration(secondsLeft)} left` : ''}`;
}

function drawFigures(run: KnownRun | undefined): void {
  const curves = run && state.curves.get(run.id);
  const last = (values: readonly (number | null)[] | undefined) =>
    values?.findLast((value) => value !== null) ?? null;
  const rows: [string, number | null, (value: number) => string][] = run
    ? [
        ['loss', run.loss, plain],
        ['validation loss', run.valLoss ?? last(curves?.validations.valLoss), plain],
        ['bits per byte', run.bitsPerByte ?? last(curves?.validations.bitsPerByte), plain],
        ['tokens', run.tokens || null, short],
        ['tokens/s', run.tokensPerSecond, short],
        ['utilisation', curves ? lastValue(curves, 'mfu') : null, percent],
        ['memory', curves ? lastValue(curves, 'residentBytes') : null, bytes],
      ]
    : [];
  const texts = rows.flatMap(([name, value, format]) => (value === null ? [] : [[name, format(value)]]));
  const key = JSON.stringify(texts);
  if (figures.dataset.key === key) return;
  figures.dataset.key = key;
  figures.replaceChildren(
    ...texts.map(([name, text]) => el('div', {}, el('dt', {}, name), el('dd', {}, text))),
  );
}

function drawProblems(run: KnownRun | undefined): void {
  const curves = run && state.curves.get(run.id);
  const { count = 0, last = [] } = curves?.anomalies ?? {};
  const latest = last.slice(-3).map(({ step, what }) => `${grouped(step)} (${what})`);
  const which = `${count > latest.length ? 'latest ' : ''}${latest.join(', ')}`;
  const texts = [
    run?.problem,
    count > 0 && `${counted(count, 'anomalous step')}: ${which}`,
    curves && curves.badLines > 0 && `${counted(curves.badLines, 'line')} of metrics.jsonl cannot be read`,
  ].filter(Boolean);
  problems.hidden = texts.length === 0;
  setText(problems, texts.join('; '));
}

function drawNotice(): void {
  const notice = byId('notice');
  const { connection, endReason } = state;
  const text =
    connection === 'ended'
      ? `${capital(endReason)}. This page keeps its contents; to reopen it, run: meap-dashboard ${state.list?.folders.join(' ') ?? ''}`
      : connection === 'lost'
        ? 'The dashboard does not respond; the data may be outdated. Reconnecting…'
        : '';
  notice.hidden = text === '';
  notice.className = connection;
  setText(notice, text);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
