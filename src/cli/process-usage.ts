/** What processes use, for `status`: two looks at /proc, a moment apart. */
import { residentBytesOf, statOf } from "../native/process-stat.ts";
import type { ProcessUsage, Usage } from "../status/gateway-overview.ts";

/** Long enough for a tick of the kernel's accounts (10 ms) to be a few percent. */
const momentMs = 250;

/** @param pids those that cannot be looked at are left out. */
export async function usageOf(pids: readonly number[]): Promise<Usage> {
  const beforeMs = performance.now();
  const before = new Map(pids.map((pid) => [pid, statOf(pid)?.processorMs]));
  await Bun.sleep(momentMs);
  const tookMs = performance.now() - beforeMs;
  const found = pids.flatMap((pid): [number, ProcessUsage][] => {
    const [first, last] = [before.get(pid), statOf(pid)?.processorMs];
    const residentBytes = residentBytesOf(pid);
    if (first === undefined || last === undefined || residentBytes === undefined) return [];
    return [[pid, { cpuPercent: ((last - first) / tookMs) * 100, residentBytes }]];
  });
  return new Map(found);
}
