const [WIDTH, HEIGHT, MARGIN] = [640, 240, 28];

export function drawCurve(svg: SVGElement, bits: readonly number[]): void {
  const x = (step: number) => MARGIN + (step / Math.max(1, bits.length - 1)) * (WIDTH - 2 * MARGIN);
  const y = (value: number) => HEIGHT - MARGIN - (Math.min(value, 8.5) / 8.5) * (HEIGHT - 2 * MARGIN);
  const grid = [0, 2, 4, 6, 8].flatMap((value) => [
    shape('line', { x1: MARGIN, x2: WIDTH - MARGIN, y1: y(value), y2: y(value) }),
    shape('text', { x: 8, y: y(value) + 4 }, String(value)),
  ]);
  const path = bits.map(
    (value, step) => `${step === 0 ? 'M' : 'L'}${x(step).toFixed(1)},${y(value).toFixed(1)}`,
  );
  svg.replaceChildren(...grid, shape('path', { d: path.join('') }));
}

function shape(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text) element.textContent = text;
  return element;
}
