/**
 * Who may say what (PROTOCOL sections 3 and 12). A server that `serve` has started does not trust
 * those who parse HTTP: they may ask for sessions of what the supervisor has registered, and for
 * nothing that changes the pool or shows others.
 */
import type { Command } from "../wire/commands.ts";

/**
 * `parent`: a client of a server without a supervisor, as ever. `worker`: one that came by the wake
 * socket of a server with a supervisor. `supervisor`: the one client on descriptor 4.
 */
export type Rights = "parent" | "worker" | "supervisor";

type Kind = Command["kind"];

const ofWorkers: ReadonlySet<Kind> = new Set<Kind>([
  ...(["get", "getTagged", "getKept", "getSticky", "close", "keep", "cancel", "abandon"] as const),
  ...(["overdue", "long", "slow", "served", "openDescriptorChannel", "getActive"] as const),
  ...(["getCount", "getSpawnServerPid"] as const),
]);
/** Those that a supervisor alone may say. */
const ofSupervisor: ReadonlySet<Kind> = new Set<Kind>([
  ...(["register", "restart", "detach", "retire", "unregister", "admit", "reopenLogs"] as const),
  ...(["recentOutput", "ping"] as const),
]);

/** Why a client may not say a command; undefined: it may. Asked of every command. */
export function whyNotAllowed(kind: Kind, rights: Rights): string | undefined {
  switch (rights) {
    case "worker":
      return ofWorkers.has(kind) ? undefined : `command ${kind}: it is not for workers`;
    case "parent":
      return ofSupervisor.has(kind) ? `unknown command '${kind}'` : undefined;
    case "supervisor":
      return undefined;
  }
}
