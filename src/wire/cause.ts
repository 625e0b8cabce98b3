/**
 * What an error says of itself where it is the cause of something else:
 * `<what was tried> on <what>: <cause>`. Anything can be thrown; what is no Error is shown as text.
 */
export function causeText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
