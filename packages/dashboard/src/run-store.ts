/** All runs below some folders; displayed runs are refreshed more often. */
import { resolve } from 'node:path';
import { type FoundRun, findRuns, type Root } from './find-runs.ts';
import { Run } from './run.ts';
import type { RunsMessage, StudySummary } from './shared/protocol.ts';
import { readStudy } from './study.ts';

/** Time after which the curves of a run that is no longer displayed are freed. */
const FORGET_MS = 60_000;
/** Interval at which new runs are searched and runs that are not displayed are refreshed. */
const SEARCH_MS = 1500;
/** Runs suggested if several run directories were given. */
const MAX_SUGGESTED = 8;

export class RunStore {
  readonly runs = new Map<string, Run>();
  readonly #roots: readonly Root[];
  readonly #primary: { id: string; path: string } | undefined;
  readonly #displayedAt = new Map<string, number>();
  #nextSearch = Number.NEGATIVE_INFINITY;
  #isCut = false;
  #studies: StudySummary[] = [];
  /** Number of changes of the studies. */
  #studiesRevision = 0;

  constructor(roots: readonly Root[], primary: string | undefined) {
    this.#roots = roots.map(({ path, depth }) => ({ path: resolve(path), depth }));
    const path = primary === undefined ? undefined : resolve(primary);
    this.#primary = path === undefined ? undefined : { path, id: new Run({ path, name: '' }).id };
  }

  /** Reads changed files: those of the displayed runs with their curves, the others less often. */
  async refresh(displayed: ReadonlySet<string>): Promise<void> {
    const now = performance.now();
    const isSearch = now >= this.#nextSearch;
    if (isSearch) await this.#search();
    for (const run of this.runs.values()) {
      if (displayed.has(run.id)) this.#displayedAt.set(run.id, now);
      else if (now - (this.#displayedAt.get(run.id) ?? now) > FORGET_MS) {
        run.close();
        this.#displayedAt.delete(run.id);
      }
      if (!displayed.has(run.id) && !isSearch) continue;
      await run.refresh();
      if (!displayed.has(run.id)) continue;
      while (await run.readCurves());
    }
  }

  /** Returns the changes since the revisions in `known`, and updates `known`; undefined if nothing changed. */
  message(known: Map<string, number>): RunsMessage | undefined {
    const isFirst = known.size === 0;
    const changed = [...this.runs.values()].filter((run) => known.get(run.id) !== run.revision);
    const gone = [...known.keys()].filter((id) => id !== LIST && !this.runs.has(id));
    const hasSameStudies = known.get(LIST) === this.#studiesRevision;
    if (!isFirst && changed.length === 0 && gone.length === 0 && hasSameStudies) return undefined;
    for (const id of gone) known.delete(id);
    for (const run of changed) known.set(run.id, run.revision);
    known.set(LIST, this.#studiesRevision);
    return {
      changed: changed.map(({ summary }) => summary),
      gone,
      studies: this.#studies,
      primary: this.#primary?.id ?? null,
      suggested: this.#suggested(),
      folders: this.#roots.map(({ path }) => path),
      isCut: this.#isCut,
    };
  }

  /** Returns the primary run; without one the run directories given, or else the run that changed last. */
  #suggested(): string[] {
    if (this.#primary) return [this.#primary.id];
    const paths = new Set(this.#roots.map(({ path }) => path));
    const runs = [...this.runs.values()].sort((a, b) => b.summary.changedAt - a.summary.changedAt);
    const given = runs.filter((run) => paths.has(run.path)).map(({ id }) => id);
    return given.length > 0 ? given.slice(0, MAX_SUGGESTED) : runs.slice(0, 1).map(({ id }) => id);
  }

  async #search(): Promise<void> {
    const began = performance.now();
    const { runs, studies, isCut } = await findRuns(this.#roots, this.#primary?.path);
    const took = performance.now() - began;
    // At most 5 % of the time is spent searching large folders.
    this.#nextSearch = began + Math.max(SEARCH_MS, 20 * took);
    this.#isCut = isCut;
    const found = new Map(runs.map((run) => [run.path, run]));
    for (const [id, run] of this.runs) {
      if (found.get(run.path)?.name === run.name) found.delete(run.path);
      else {
        run.close();
        this.runs.delete(id);
      }
    }
    for (const one of found.values()) {
      const run = new Run(one);
      this.runs.set(run.id, run);
    }
    await this.#readStudies(studies);
  }

  async #readStudies(found: readonly FoundRun[]): Promise<void> {
    const studies = await Promise.all(found.map((one) => readStudy(one, this.runs.values())));
    if (JSON.stringify(studies) === JSON.stringify(this.#studies)) return;
    this.#studies = studies;
    this.#studiesRevision++;
  }
}

/** Key in the known revisions for the studies, present once the list was sent, even if empty; no run has this id. */
const LIST = '';
