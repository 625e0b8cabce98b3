/**
 * What the kernel says of memory that ran out: how many processes of our control group it has ended
 * for that (memory.events of version 2, memory.oom_control of version 1; cgroups(7)).
 */
import { join } from "node:path";

import { kernelText } from "./process-stat.ts";

/**
 * Undefined: it does not say.
 * @param groups where the groups are shown; @param own which ones are ours (proc(5) cgroup).
 */
export function memoryKills(
  groups = "/sys/fs/cgroup",
  own = kernelText("/proc/self/cgroup"),
): number | undefined {
  for (const line of own.split("\n")) {
    const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const file =
      controllers === ""
        ? join(groups, path, "memory.events")
        : join(groups, "memory", path, "memory.oom_control");
    if (controllers !== "" && !controllers.split(",").includes("memory")) continue;
    const [, kills] = /^oom_kill (\d+)$/m.exec(kernelText(file)) ?? [];
    if (kills !== undefined) return Number(kills);
  }
  return undefined;
}
