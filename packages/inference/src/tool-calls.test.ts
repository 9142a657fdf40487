import { ChatTemplate, type Conversation } from '@meap/token-dataset';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ToolCallForm, ToolCallScanner, toolCallFormOf } from './tool-calls.ts';

const TAGS: ToolCallForm = { open: '<tool_call>\n', close: '\n</tool_call>', argumentsKey: 'arguments' };
const WHOLE: ToolCallForm = { open: '', close: '', argumentsKey: 'parameters' };

/** Scans an answer that arrives in pieces. */
function scan(form: ToolCallForm, pieces: readonly string[], maxCalls = Number.POSITIVE_INFINITY) {
  const scanner = new ToolCallScanner(form, { names: ['look', 'sail'], maxCalls });
  const parts = [...pieces.map((piece) => scanner.push(piece)), scanner.end()];
  return {
    text: parts.map(({ text }) => text).join(''),
    calls: parts.flatMap(({ calls }) => calls.map((call) => `${call.name}(${call.arguments})`)),
  };
}

describe('toolCallFormOf', () => {
  const of = (call: string) => {
    const template = new ChatTemplate(
      't',
      `{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}${call}{% endfor %}{% endfor %}`,
      {},
    );
    return toolCallFormOf((messages: Conversation) => template.render(messages));
  };
  test.each([
    [
      `{{ '\\n<tool_call>\\n{"name": "' + c.function.name + '", "arguments": ' }}{{ c.function.arguments | tojson }}{{ '}\\n</tool_call>' }}`,
      TAGS,
    ],
    [
      `{{ '{"name": "' + c.function.name + '", "parameters": ' }}{{ c.function.arguments | tojson }}{{ '}' }}`,
      WHOLE,
    ],
    ["[TOOL_CALLS]{{ c.function.name + '[ARGS]' }}{{ c.function.arguments | tojson }}", undefined],
    ['{{ raise_exception("no tools") }}', undefined],
    ['', undefined],
  ])('%s', (call, form) => expect(of(call)).toEqual(form));
});

describe('ToolCallScanner', () => {
  const look = '{"name": "look", "arguments": {"at": "<sea>"}}';
  test.each([
    ['Ahoy <b>!', 'Ahoy <b>!', []],
    [`<tool_call>\n${look}\n</tool_call>`, '', ['look({"at":"<sea>"})']],
    [
      `I look.\n\n<tool_call>${look}</tool_call>\n<tool_call>{"name": "sail"}</tool_call>\n`,
      'I look.',
      ['look({"at":"<sea>"})', 'sail({})'],
    ],
    // Ended instead of closed, and cut.
    [`<tool_call>\n${look}`, '', ['look({"at":"<sea>"})']],
    [`<tool_call>\n${look.slice(0, 20)}`, `<tool_call>\n${look.slice(0, 20)}`, []],
    [
      'a <tool_call>{"name": "sink", "arguments": {}}</tool_call> b',
      'a<tool_call>{"name": "sink", "arguments": {}}</tool_call> b',
      [],
    ],
    ['<tool_call>[1]</tool_call>', '<tool_call>[1]</tool_call>', []],
    ['a <tool_', 'a <tool_', []],
  ])('%s', (answer, text, calls) => {
    expect(scan(TAGS, [answer])).toEqual({ text, calls });
    fc.assert(
      fc.property(fc.array(fc.nat(answer.length)), (cuts) => {
        const ends = [...cuts.sort((a, b) => a - b), answer.length];
        const pieces = ends.map((end, i) => answer.slice(ends[i - 1] ?? 0, end));
        expect(scan(TAGS, pieces)).toEqual({ text, calls });
      }),
      { numRuns: 20 },
    );
  });

  test('without tags a whole answer is a call', () => {
    const call = ['{"name": "look", ', '"parameters": {"at": 1}}'];
    expect(scan(WHOLE, ['\n', ...call])).toEqual({ text: '', calls: ['look({"at":1})'] });
    expect(scan(WHOLE, [...call, ' Ahoy'])).toEqual({ text: `${call.join('')} Ahoy`, calls: [] });
    expect(scan(WHOLE, [' I ', ...call])).toEqual({ text: ` I ${call.join('')}`, calls: [] });
    expect(scan(TAGS, [`<tool_call>${look}</tool_call>`.repeat(3)], 2).calls).toHaveLength(2);
  });
});
