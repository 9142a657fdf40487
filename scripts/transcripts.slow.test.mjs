import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'transcripts-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the script on a page; what it prints, its exit status, and the page afterwards. */
function run(page, ...flags) {
  const path = join(folder, 'page.md');
  writeFileSync(path, page.join('\n'));
  const script = join(import.meta.dirname, 'transcripts.mjs');
  const { stdout, status } = spawnSync(process.execPath, [script, path, ...flags], { encoding: 'utf8' });
  return { stdout, status, lines: readFileSync(path, 'utf8').split('\n') };
}

const block = (marker, ...lines) => [marker, '', '```', ...lines, '```', ''];
const page = [
  ...['```sh', 'echo 3 steps in 5 s; seq 4; pwd', '```', ''],
  ...block('<!-- transcript\nsetup: echo kept > file\ndrop: ^[23]$\n-->', 'stale'),
  ...block('<!-- transcript\nexit: 1\n-->', '$ cat file; false'),
  ...block('<!-- transcript\nneeds: NOT_SET_ANYWHERE\n-->', 'old'),
  ...block('<!-- transcript\nrun: echo in 7 s\n-->', 'in 9 s'),
];

it('rewrites what differs, in one folder, and leaves times and what it cannot run', () => {
  const { stdout, status, lines } = run(page);
  expect(stdout.match(/rewritten|same|skipped.*/g)).toEqual([
    'rewritten',
    'rewritten',
    'skipped: no NOT_SET_ANYWHERE',
    'same',
  ]);
  expect(status).toBe(0);
  const text = lines.join('\n');
  expect(text).toContain('```\n3 steps in 5 s\n1\n…\n4\n/tmp/demo\n```');
  expect(text).toContain('```\n$ cat file; false\nkept\n```');
  expect(text).toContain('```\nold\n```');
  expect(text).toContain('```\nin 9 s\n```');
});

it('rewrites times too with --times', () => {
  const { lines } = run(block('<!-- transcript\nrun: echo in 7 s\n-->', 'in 9 s'), '--times');
  expect(lines).toContain('in 7 s');
});

it('only reports with --check, and when a command ends with another status', () => {
  const checked = run(page, '--check');
  expect(checked.status).toBe(1);
  expect(checked.stdout).toContain('differs:\n3 steps in 5 s');
  expect(checked.lines).toEqual(page.join('\n').split('\n'));
  const failing = ['```sh', 'echo half; false', '```', '', ...block('<!-- transcript -->', 'whole')];
  const { stdout, status, lines } = run(failing);
  expect(stdout).toContain('failed: exit status 1, expected 0:\nhalf');
  expect(status).toBe(1);
  expect(lines).toContain('whole');
});
