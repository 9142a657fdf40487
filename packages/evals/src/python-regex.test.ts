import { expect, it } from 'vitest';
import { pythonRegExp } from './python-regex.ts';

// What Python 3.11's re.finditer finds.
it.each([
  ['#### (\\-?[0-9\\.\\,]+)', 'x #### -1,0.5 #### 2', ['#### -1,0.5', '#### 2']],
  ['(?<=the answer is )(.*)(?=.)', 'the answer is 42.\nthe answer is é\u2028x.', ['42', 'é\u2028x']],
  ['\\b(True|False)\\b', 'éTrue True, _False False', ['True', 'False']],
  ['\\.$', 'a.\n', ['.']],
  ['(?i)^the (\\w+)', 'The ÖL\nthe x', ['The ÖL']],
  ['(?s)a.b\\Z', 'a\nb', ['a\nb']],
  ['(?m)^\\s*(\\d+)$', ' 1\n٣\nx', [' 1', '٣']],
  ['(?P<q>[\'\\"]).*?(?P=q)', '\'a"\' "b"', ["'a\"'", '"b"']],
  ['[\\w\\-]+\\s\\S', 'é-1\u00a0x \u001cy', ['é-1\u00a0x']],
  ['\\\\', 'a\\b', ['\\']],
  ['\\A\\W+', '¡é', ['¡']],
  ['([ABCD])|(x)', 'xB', ['x', 'B']],
])('%s finds what Python finds', (source, text, expected) => {
  expect(Array.from(text.matchAll(pythonRegExp(source, 'test')), ([found]) => found)).toEqual(expected);
});

it('refuses what JavaScript does not have, with its place', () => {
  expect(() => pythonRegExp('a++', 'task.yaml: filter_list.0')).toThrow(
    'task.yaml: filter_list.0: got "a++", expected a regular expression that Python and JavaScript share',
  );
});
