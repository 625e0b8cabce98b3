/** Looks at processes, for the status. */
import { descriptorsOf, residentBytesOf } from "../../native/process-stat.ts";
import type { Inspection } from "../../parent/index.ts";
import type { ProcessStatus } from "../../wire/gateway-status.ts";

export function processStatus(
  kind: ProcessStatus["kind"],
  pid: number,
  lagMs: number | undefined,
): ProcessStatus {
  const residentBytes = residentBytesOf(pid) ?? null;
  return { kind, pid, residentBytes, openFds: descriptorsOf(pid) ?? null, lagMs: lagMs ?? null };
}

/** The memory of an application's processes; null: it has none. */
export function memoryOf(pool: Inspection | null, root: string): number | null {
  const found = pool?.applications.find((application) => application.root === root);
  const sizes = found?.instances.flatMap(({ pid }) => residentBytesOf(pid) ?? []) ?? [];
  return sizes.length === 0 ? null : sizes.reduce((sum, bytes) => sum + bytes, 0);
}
