import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adjustHolm, compareResults, type TaskResult } from '@meap/evals';
import { html, plainText } from '@meap/recipe-cli';
import fc from 'fast-check';
import { parseHTML } from 'linkedom';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeDepths } from './attention-section.ts';
import { differenceCell } from './comparisons.ts';
import { type RenderedReport, renderReport, writeReport } from './report.ts';
import type { ReportInput } from './report-input.ts';
import { syntheticModel, syntheticReport, syntheticResult } from './testing.ts';

const HOSTILE = `</style></title><script>alert(1)</script><img src=x onerror="alert(1)">'"&=1+1\u0000\u001b[2J`;

let input: ReportInput;
let report: RenderedReport;
beforeAll(async () => {
  input = await syntheticReport();
  report = renderReport(input);
});

/** Returns the text of each cell of a table. */
function tableRows(page: string, name: string): string[][] {
  const { document } = parseHTML(page);
  const table = [...document.querySelectorAll('table')].find(
    (table) => table.getAttribute('aria-label') === name,
  );
  return [...table!.querySelectorAll('tbody tr')].map((row) =>
    [...row.querySelectorAll('th, td')].map((cell) => cell.textContent!.replaceAll(/\s+/g, ' ').trim()),
  );
}

describe('renderReport', () => {
  it('shows values, standard errors and paired differences', () => {
    const [a, b] = input.models.map(({ results }) => results.find(({ task }) => task === 'boolq')!);
    const { difference, interval, pValue } = compareResults(a, b).metrics.acc;
    const row = tableRows(report.html, 'Accuracy (acc), %').find(([task]) => task.startsWith('BoolQ'))!;
    const { value, standardError } = a.results.acc;
    expect(row[1]).toBe(`${(100 * value).toFixed(1)}± ${(100 * standardError!).toFixed(1)}`);
    const limits = interval!.map((limit) => `+${(100 * limit).toFixed(1)}`);
    expect(pValue).toBeLessThan(0.001);
    const pValues = input.models[0].results.flatMap((result, i) =>
      Object.values(compareResults(result, input.models[1].results[i]).metrics).flatMap(
        (one) => one.pValue ?? [],
      ),
    );
    const adjusted = adjustHolm(pValues)[pValues.indexOf(pValue!)].toFixed(3);
    expect(row[3]).toBe(
      `▲ +${(100 * difference).toFixed(1)}[${limits.join(', ')}] p < 0.001, Holm = ${adjusted}`,
    );
  });

  it('averages tasks with equal weights', () => {
    const rows = tableRows(report.html, 'Accuracy (acc), %');
    const values = rows.slice(0, -1).map(([, value]) => Number.parseFloat(value));
    const [name, average] = rows.at(-1)!;
    expect(name).toContain('Average');
    expect(Number.parseFloat(average)).toBeCloseTo(
      values.reduce((sum, value) => sum + value, 0) / values.length,
      0,
    );
  });

  it('has tables and figures of every kind of task', () => {
    const { document } = parseHTML(report.html);
    expect([...document.querySelectorAll('h2')].map((heading) => heading.textContent)).toEqual([
      'Zero-shot tasks',
      'Needle in a haystack',
      'Multi-needle reasoning (M-RS)',
      'Multi-document QA, 20 documents',
      'Perplexity of texts',
      'RULER',
      'Rows in which models disagree',
      'Attention',
      'Training',
      'Setup',
    ]);
    const names = Object.keys(report.figures).filter((name) => name.endsWith('.svg'));
    expect(names).toHaveLength(document.querySelectorAll('figure').length);
    for (const name of [
      'niah-grid-1',
      'niah-grid-2',
      'mdqa_20-by-position',
      'ruler-by-length',
      'loss-train',
    ]) {
      expect(names).toContain(`${name}.svg`);
    }
    const perplexity = document.querySelector('#perplexity-of-texts')!.textContent!;
    expect(perplexity).toContain('▲ −');
    expect(perplexity).not.toContain('%');
  });

  it('shows what guesses would score, if the rows have it', async () => {
    expect(report.html).not.toContain('Chance');
    const results = input.models[0].results.map((result) => ({
      ...result,
      samples: result.samples.map((sample, i) => ({ ...sample, chance: i % 2 ? 0.5 : 0.25 })),
    }));
    const { html: page, figures } = renderReport({ models: [{ ...input.models[0], results }] });
    expect(tableRows(page, 'Accuracy (acc), %')[0].slice(0, 2)).toEqual(['ARC-cn = 200', '37.5']);
    expect(tableRows(page, 'Accuracy (acc), %').at(-1)![1]).toBe('37.5');
    const byPairs = await syntheticResult(
      {
        name: 'key_value_recall',
        metrics: ['acc'],
        groups: [{ pairs: 2 }, { pairs: 4 }],
        measure: () => 1,
      },
      syntheticModel('m', 0),
      0,
    );
    const samples = byPairs.samples.map((sample, i) => ({ ...sample, chance: i ? 0.25 : 0.5 }));
    const probe = renderReport({
      models: [{ name: 'm', fingerprint: 'f', results: [{ ...byPairs, samples }] }],
    });
    const svg = probe.figures['key_value_recall-by-pairs.svg'];
    expect(svg).toMatch(/stroke-dasharray="4 3".*>chance</s);
    expect(figures['mdqa_20-by-position.svg']).not.toContain('chance');
  });

  it('lists rows that one model has right and the other wrong, with their questions if they were logged', () => {
    const name = 'Rows that only NTP or only MEAP has right';
    const [a, b] = input.models.map(({ results }) => results.find(({ task }) => task === 'boolq')!);
    const { disagreement } = compareResults(a, b).metrics.acc;
    const { numOnlyA, numOnlyB, onlyB } = disagreement!;
    expect(tableRows(report.html, name)).toContainEqual([
      'BoolQ, Accuracy',
      String(numOnlyA),
      String(numOnlyB),
    ]);
    expect(report.html).toContain(
      `BoolQ, Accuracy, only MEAP: ${onlyB.join(', ')}${numOnlyB > 20 ? `, and ${numOnlyB - 20} more` : ''}.`,
    );
    const row = { question: 'is <it> so?', target: 'yes' };
    const logged = ['no', 'yes'].map((answer) => ({ boolq: new Map([[onlyB[0], { ...row, answer }]]) }));
    expect(renderReport({ ...input, logged }).html).toContain(
      `<h3>Row ${onlyB[0]}</h3>\n<pre>is &lt;it&gt; so?</pre>\n<ul><li>right: yes</li><li>NTP: no</li><li>MEAP: yes</li></ul>`,
    );
  });

  it('has the same tables in Markdown and LaTeX', () => {
    const [title] = tableRows(report.html, 'Accuracy (acc), %')[0];
    const value = tableRows(report.html, 'Accuracy (acc), %')[0][1].replace('±', ' ±');
    expect(title).toBe('ARC-cn = 200');
    expect(report.markdown.replaceAll(/ +/g, ' ')).toContain(`| ARC-c (n = 200) | ${value} |`);
    expect(report.markdown).toContain('](figures/mdqa_20-by-position.svg)');
    expect(report.latex).toContain(`\\midrule\nARC-c (n = 200) & ${value.replace('±', '$\\pm$')} &`);
    expect(report.latex).toContain('$\\blacktriangle$ +');
  });

  it('shows differences in points and in percent', () => {
    const [, first] = tableRows(report.html, 'Answers found, %, by position');
    const [, a, b, difference] = first.map((text) =>
      text.match(/[−+]?[\d.]+/g)!.map((text) => Number(text.replace('−', '-'))),
    );
    expect(difference[0]).toBeCloseTo(b[0] - a[0], 0);
    expect(difference[1]).toBeCloseTo((100 * (b[0] - a[0])) / a[0], -1);
  });

  it('shows the value of each cell of a heat map, also of cells not measured', () => {
    const csv = report.figures['niah-grid-1.csv']
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    expect(csv[0]).toEqual(['length', 'depth', 'rouge1_recall', 'n']);
    expect(csv).toHaveLength(1 + 9 * 11);
    const { document } = parseHTML(report.figures['niah-grid-1.svg']);
    const texts = [...document.querySelectorAll('[aria-label="text"] text')].map((text) => text.textContent);
    expect(texts).toEqual(
      csv.slice(1).map(([, , value]) => (value === '' ? '–' : String(Math.round(100 * Number(value))))),
    );
    expect(texts.filter((text) => text === '–')).toHaveLength(11);
  });

  it('describes each figure', () => {
    const { document } = parseHTML(report.html);
    for (const figure of document.querySelectorAll('figure')) {
      const drawings = [...figure.querySelectorAll('[role=img]')];
      expect(drawings).toHaveLength(2);
      for (const drawing of drawings) expect(drawing.getAttribute('aria-label')!.length).toBeGreaterThan(40);
      expect(figure.querySelectorAll('details tbody tr').length).toBeGreaterThan(0);
    }
  });

  it('has no external resources and no scripts', () => {
    for (const content of [report.html, ...Object.values(report.figures)]) {
      expect(content.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(
        /https?:|\ssrc=|<link|<script|url\(|@import/,
      );
    }
  });

  it('is deterministic', () => {
    expect(renderReport(input)).toEqual(report);
  });

  it('accepts a single model, or only attention', async () => {
    const one = renderReport(await syntheticReport(['only']));
    expect(one.html).toContain('<h1>Evaluation of only</h1>');
    expect(one.html).not.toMatch(/Difference|p-value/);
    expect(Object.keys(one.figures)).toContain('niah-grid.svg');
    const attention = renderReport({ ...input, models: [] });
    expect(attention.html).toContain('<h1>Attention of NTP and MEAP</h1>');
  });

  it('explains why two results are not compared', () => {
    const [a, b] = input.models;
    const models = [a, { ...b, results: b.results.map((result) => ({ ...result, version: 2 })) }];
    expect(renderReport({ models }).html).toMatch(
      /MEAP is not compared with NTP: .*niah version 1 and niah version 2/,
    );
    const fewer = b.results.map((result): TaskResult => ({ ...result, samples: result.samples.slice(10) }));
    expect(renderReport({ models: [a, { ...b, results: fewer }] }).html).toContain(
      'Differences exclude rows that only one model has: 10 only in NTP.',
    );
  });

  it('shows a task whose rows were all skipped', async () => {
    const skipped = {
      name: 'niah',
      metrics: ['score'],
      groups: [{ length: 65536, depth: 0 }],
      measure: () => 1,
    };
    const model = syntheticModel('small', 0);
    const models = [{ name: 'small', fingerprint: 'f', results: [await syntheticResult(skipped, model, 0)] }];
    expect(renderReport({ models }).html).toContain('1 skipped, the first (0): a length of 65536 tokens');
  });

  it('refuses no results and too many models', () => {
    expect(() => renderReport({ models: [] })).toThrow('report: got no results');
    const many = Array.from({ length: 7 }, (_, i) => ({ ...input.models[0], name: `m${i}` }));
    expect(() => renderReport({ models: many })).toThrow('got 7 models, expected at most 6');
  });
});

describe('untrusted text', () => {
  it('is displayed, never executed', async () => {
    const names = [`${HOSTILE}1`, `${HOSTILE}2`];
    const synthetic = await syntheticReport(names);
    const task = {
      name: `../../${HOSTILE}`,
      metrics: [HOSTILE],
      groups: [
        { [HOSTILE]: 1, length: 1, depth: 1 },
        { [HOSTILE]: HOSTILE, length: 2, depth: 1 },
      ],
      measure: () => 0.5,
      config: { [HOSTILE]: HOSTILE },
    };
    const shares = synthetic.shares!.map((shown) => ({
      ...shown,
      model: HOSTILE,
      segments: shown.segments.map((segment) => ({ ...segment, name: HOSTILE })),
      tokenTexts: [[HOSTILE, HOSTILE]],
    }));
    const models = await Promise.all(
      synthetic.models.map(async (model) => {
        const result = await syntheticResult(task, syntheticModel(HOSTILE, 0), 0);
        const skipped = [{ id: HOSTILE, reason: HOSTILE }];
        return { ...model, fingerprint: HOSTILE, results: [...model.results, { ...result, skipped }] };
      }),
    );
    const { html: page, figures } = renderReport({ ...synthetic, models, shares });
    const { document } = parseHTML(page);
    expect(document.querySelectorAll('script, img, link, iframe, object, embed')).toHaveLength(0);
    expect(document.querySelectorAll('title, body > *')).toHaveLength(3);
    for (const element of document.querySelectorAll('*')) {
      for (const { name } of element.attributes) expect(name).not.toMatch(/^on/);
    }
    expect(plainText(page) === page).toBe(true);
    expect(document.querySelector('h1')!.textContent).toContain('<script>alert(1)</script>');
    for (const [name, content] of Object.entries(figures)) {
      expect(name).toMatch(/^[a-z0-9_-]+\.(svg|csv)$/);
      if (!name.endsWith('.svg')) continue;
      expect(/<script|<img/.test(content)).toBe(false);
      expect(plainText(content) === content).toBe(true);
    }
  });

  it('is never a formula in a spreadsheet', async () => {
    const { figures } = renderReport(await syntheticReport(['=cmd|x', '@y']));
    expect(figures['mdqa_20-by-position.csv']).toContain("\n'=cmd|x,");
    expect(figures['mdqa_20-by-position.csv']).toContain("\n'@y,");
  });

  it('is preserved by the html template', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const { document } = parseHTML(
          `<!doctype html><html><body>${html`<p title="${text}">${[text]}</p>`.markup}</body></html>`,
        );
        const [paragraph, ...others] = document.body.children;
        expect(others).toEqual([]);
        const plain = text.replaceAll(/[^\P{C}\n\t]/gu, '\u{fffd}');
        expect(paragraph.textContent).toBe(plain);
        expect(paragraph.getAttribute('title')).toBe(plain);
      }),
    );
  });
});

describe('differences', () => {
  const shown = (comparison: Parameters<typeof differenceCell>[0]) => {
    const { value, note } = differenceCell(comparison, { isPercent: true, factor: 100 }, true)!;
    return html`${value}: ${note}`.markup;
  };

  it('are marked by interval and p, those they have; filled where the corrected p agrees', () => {
    expect(shown({ difference: 0.1, pValue: 0.5 })).toBe('+10.0: –<br> p = 0.500');
    expect(shown({ difference: -0.1, pValue: 0.002 })).toBe('▽ −10.0: –<br> p = 0.002');
    expect(shown({ difference: 0.1 })).toBe('+10.0: –');
    expect(shown({ difference: 0.1, interval: [0.05, 0.15] })).toBe('△ +10.0: [+5.0, +15.0]');
    expect(shown({ difference: 0.1, interval: [-0.05, 0.25], pValue: 0.01, adjusted: 0.01 })).toMatch(
      /^\+10/,
    );
    const tested = { difference: -0.1, interval: [-0.15, -0.05], pValue: 0.01 } as const;
    expect(shown({ ...tested, adjusted: 0.04 })).toMatch(/^▼ .* p = 0\.010, Holm = 0\.040$/);
    expect(shown({ ...tested, adjusted: 0.2 })).toMatch(/^▽ .* p = 0\.010, Holm = 0\.200$/);
  });

  it('of attention say where the models have different depths, and where there is no test', async () => {
    const [contrast] = input.contrasts!;
    expect(describeDepths(contrast)).toBeUndefined();
    const { scoreDecay } = contrast;
    const shallow = { ...scoreDecay, ntp: { ...scoreDecay.ntp, layers: [1] }, paired: undefined };
    const page = renderReport({ models: [], contrasts: [{ ...contrast, scoreDecay: shallow }] }).html;
    expect(page).toMatch(/ has 1 layers? and .* \d+: differences may come from their depth, .*layers\.</);
    expect(page).toContain('<td>–</td>');
  });
});

describe('writeReport', () => {
  it('writes the page and its figures', () => {
    const folder = mkdtempSync(join(tmpdir(), 'meap-report-'));
    writeReport(input, join(folder, 'report.html'));
    expect(readdirSync(folder).sort()).toEqual(['figures', 'report.html', 'report.md', 'report.tex']);
    expect(readdirSync(join(folder, 'figures')).sort()).toEqual(Object.keys(report.figures).sort());
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toBe(report.html);
  });

  it.skipIf(!existsSync('/proc/self'))('fails if its folder cannot be created', () => {
    expect(() => writeReport(input, '/proc/meap/report.html')).toThrow(/ENOENT/);
  });

  it('makes the names of figure files unique', async () => {
    const model = syntheticModel('m', 0);
    const results = await Promise.all(
      ['a/b', 'a:b'].map((name) =>
        syntheticResult(
          { name, metrics: ['acc'], groups: [{ position: 1 }, { position: 2 }], measure: () => 1 },
          model,
          0,
        ),
      ),
    );
    const { figures } = renderReport({ models: [{ name: 'm', fingerprint: 'f', results }] });
    expect(Object.keys(figures)).toHaveLength(4);
  });
});
