import { cssVariables } from './colors.ts';

/** The style sheet: one column, the reader's colour scheme, light colours for printing. */
export const STYLE = `
:root { color-scheme: light dark; ${cssVariables('light')} }
@media screen and (prefers-color-scheme: dark) { :root { ${cssVariables('dark')} } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--paper); max-width: 47.5rem; margin: 0 auto; padding: 2.5rem 20px 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 0.75rem; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 3.25rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--faint); }
h3 { font-size: 1rem; margin: 1.75rem 0 0.5rem; }
p { margin: 0.75rem 0; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: 0.2em; }
nav { color: var(--muted); font-size: 0.9rem; }
nav a { display: inline-block; margin-right: 1.1rem; padding: 0.15rem 0; }
ul.models { list-style: none; margin: 0 0 1rem; padding: 0; }
ul.models li { font-weight: 600; }
ul.models small { font-weight: 400; color: var(--muted); }
.note, .explanation { color: var(--muted); font-size: 0.82rem; line-height: 1.45; margin: 0.5rem 0; }
.table { overflow-x: auto; margin: 0 0 0.5rem; background:
  linear-gradient(to left, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--faint), transparent) right / 0.9rem 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; line-height: 1.35; }
.caption { font-weight: 600; font-size: 0.92rem; margin: 1.75rem 0 0.4rem; }
th, td { padding: 0.4rem 0 0.4rem 0.9rem; vertical-align: top; text-align: right; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid var(--faint); }
th { font-weight: 400; overflow-wrap: break-word; }
th:first-child { text-align: left; padding-left: 0; min-width: 6.75rem; overflow-wrap: anywhere; }
td { white-space: nowrap; }
thead th { color: var(--muted); font-size: 0.8rem; line-height: 1.3; vertical-align: bottom; border-bottom-color: var(--muted); }
td small, th small { display: block; color: var(--muted); font-size: 0.76rem; }
table.total tbody tr:last-child > * { border-top: 1px solid var(--muted); font-weight: 600; }
table.total tbody tr:last-child small { font-weight: 400; }
figure { margin: 2rem 0 1.5rem; }
figcaption { font-weight: 600; font-size: 0.92rem; margin-bottom: 0.6rem; }
svg { display: block; max-width: 100%; height: auto; }
.narrow { display: none; }
details { font-size: 0.9rem; margin: 0.5rem 0; }
summary { color: var(--muted); font-size: 0.82rem; cursor: pointer; padding: 0.25rem 0; }
details .table { margin-top: 0.25rem; max-height: 24rem; overflow-y: auto; }
pre, code { font: 0.82rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; margin: 0.5rem 0 1rem; }
.attended { border-left: 2px solid var(--faint); padding-left: 0.9rem; }
.attended small { color: var(--muted); font-size: 0.76rem; }
.attended p { margin: 0 0 0.6rem; line-height: 2.1; white-space: pre-wrap; }
.attended span { padding-bottom: 0.6em; background: linear-gradient(var(--bar), var(--bar)) left bottom /
  100% calc(var(--share) * 0.6em) no-repeat; }
@media (min-width: 641px) {
  td br { display: none; }
}
@media (max-width: 640px) {
  body { padding-top: 1.5rem; }
  h1 { font-size: 1.45rem; }
  .wide { display: none; }
  .narrow { display: block; }
  table { font-size: 0.86rem; }
  th, td { padding-left: 0.6rem; }
  /* The name of a row stands above its numbers, so that they have the whole width. */
  .named, .named thead, .named tbody { display: block; }
  .named tr { display: grid; grid-template-columns: repeat(var(--columns), minmax(4rem, 1fr));
    border-bottom: 1px solid var(--faint); }
  .named tr > * { border-bottom: 0; padding-left: 0.3rem; }
  .named tr > :first-child { grid-column: 1 / -1; padding: 0.45rem 0 0; }
  .named thead tr > * { align-self: end; }
  .named td { white-space: normal; }
}
@media print {
  @page { margin: 16mm; }
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  nav, summary, details { display: none; }
  h2, h3, .caption, figcaption { break-after: avoid; }
  figure, tr, .note { break-inside: avoid; }
  .wide { display: block; }
  .narrow { display: none; }
  .table { overflow: visible; background: none; }
  .attended span { print-color-adjust: exact; }
}
`;
