/** Fetches JSON from the server's API; undefined if that fails. */
export async function fetchJson<Answer>(
  path: string,
  parameters: Record<string, string | number>,
): Promise<Answer | undefined> {
  const search = new URLSearchParams(Object.entries(parameters).map(([key, value]) => [key, `${value}`]));
  const response = await fetch(`/api/${path}?${search}`).catch(() => undefined);
  return response?.ok ? await response.json() : undefined;
}
