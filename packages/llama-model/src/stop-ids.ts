/** Ids that end a text: `eos_token_id` of a config or of generation_config.json, which is one id, several or none. */
export function stopIdsOf({ eos_token_id }: { readonly eos_token_id?: unknown }): number[] {
  return [eos_token_id].flat().filter((id): id is number => Number.isSafeInteger(id));
}
