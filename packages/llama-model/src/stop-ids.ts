/** Returns the ids in `eos_token_id` of a config or generation_config.json: one, several or none. */
export function stopIdsOf({ eos_token_id }: { readonly eos_token_id?: unknown }): number[] {
  return [eos_token_id].flat().filter((id): id is number => Number.isSafeInteger(id));
}
