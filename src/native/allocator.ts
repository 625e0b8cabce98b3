/**
 * Bun's allocator, mimalloc, in processes that bodies pass through. It gives memory that is free
 * back to the kernel after a moment that is short for them: each page that comes back costs a page
 * fault, at uploads of 1 MiB 120 each. It reads the environment before our first line runs.
 */
const name = "MIMALLOC_PURGE_DELAY";
const keptMs = 2_000;

/** For the environment of such a process, where nobody has chosen in one of these. */
export function allocatorVariables(
  ...environments: readonly (Readonly<Record<string, string | undefined>> | undefined)[]
): Record<string, string> {
  const isChosen = environments.some((one) => one?.[name] !== undefined);
  return isChosen ? {} : { [name]: String(keptMs) };
}
