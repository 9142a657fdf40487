/** All runs below some folders, kept as fresh as somebody looks at them. */
import { resolve } from 'node:path';
import { findRuns, type Root } from './find-runs.ts';
import { Run } from './run.ts';
import type { RunsMessage } from './shared/protocol.ts';

/** Curves nobody has looked at for so long are let go of: a reader who comes back soon finds them. */
const FORGET_MS = 60_000;
/** New runs are looked for, and those nobody has chosen refreshed, so often. */
const SEARCH_MS = 1500;
/** Runs shown first where there is no primary one and the folders were not runs themselves. */
const MOST_SUGGESTED = 8;

/** The runs of a dashboard. */
export class RunStore {
  readonly runs = new Map<string, Run>();
  readonly #roots: readonly Root[];
  readonly #primary: { id: string; path: string } | undefined;
  readonly #lookedAt = new Map<string, number>();
  #nextSearch = Number.NEGATIVE_INFINITY;
  #isCut = false;

  constructor(roots: readonly Root[], primary: string | undefined) {
    this.#roots = roots.map(({ path, depth }) => ({ path: resolve(path), depth }));
    const path = primary === undefined ? undefined : resolve(primary);
    this.#primary = path === undefined ? undefined : { path, id: new Run({ path, name: '' }).id };
  }

  /** Brings up to date what has changed on the disk: `looked` with their curves, the others less often. */
  async refresh(looked: ReadonlySet<string>): Promise<void> {
    const now = performance.now();
    const isSearch = now >= this.#nextSearch;
    if (isSearch) await this.#search();
    for (const run of this.runs.values()) {
      if (looked.has(run.id)) this.#lookedAt.set(run.id, now);
      else if (now - (this.#lookedAt.get(run.id) ?? now) > FORGET_MS) {
        run.close();
        this.#lookedAt.delete(run.id);
      }
      if (!looked.has(run.id) && !isSearch) continue;
      await run.refresh();
      if (!looked.has(run.id)) continue;
      while (await run.readCurves());
    }
  }

  /** What a reader of the list has to be told who knows the revisions in `known`, which is brought up to date. */
  message(known: Map<string, number>): RunsMessage | undefined {
    const isFirst = known.size === 0;
    const changed = [...this.runs.values()].filter((run) => known.get(run.id) !== run.revision);
    const gone = [...known.keys()].filter((id) => id !== LIST && !this.runs.has(id));
    if (!isFirst && changed.length === 0 && gone.length === 0) return undefined;
    for (const id of gone) known.delete(id);
    for (const run of changed) known.set(run.id, run.revision);
    known.set(LIST, 0);
    return {
      changed: changed.map(({ summary }) => summary),
      gone,
      primary: this.#primary?.id ?? null,
      suggested: this.#suggested(),
      folders: this.#roots.map(({ path }) => path),
      isCut: this.#isCut,
    };
  }

  /** The primary run; where there is none, runs given by themselves, or the one that changed last. */
  #suggested(): string[] {
    if (this.#primary) return [this.#primary.id];
    const paths = new Set(this.#roots.map(({ path }) => path));
    const runs = [...this.runs.values()].sort((a, b) => b.summary.changedAt - a.summary.changedAt);
    const given = runs.filter((run) => paths.has(run.path)).map(({ id }) => id);
    return given.length > 0 ? given.slice(0, MOST_SUGGESTED) : runs.slice(0, 1).map(({ id }) => id);
  }

  async #search(): Promise<void> {
    const began = performance.now();
    const { runs, isCut } = await findRuns(this.#roots, this.#primary?.path);
    const took = performance.now() - began;
    // A folder of thousands takes a while: a twentieth of the time at most is spent in it.
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
    for (const place of found.values()) {
      const run = new Run(place);
      this.runs.set(run.id, run);
    }
  }
}

/** Marks in the revisions a reader knows that it has had the list, be it empty; no run has this id. */
const LIST = '';
