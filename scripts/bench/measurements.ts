/**
 * What is measured: for each kind its arguments to the load program, and what its numbers are
 * called in the table. Adding a kind means adding it here and in scripts/bench/load.c.
 */

export const KINDS = ["startup", "connect", "get", "count", "idle"] as const;
export type Kind = (typeof KINDS)[number];

export interface Measurement {
  readonly title: string;
  readonly args: readonly string[];
  /** Field of the result → what people call it. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface Extent {
  readonly only: readonly Kind[];
  readonly clients: readonly number[];
  readonly idleClients: readonly number[];
  readonly seconds: number;
}

/** Enough for a steady median; a start takes some milliseconds. */
const STARTUPS = 15;
const CONNECTS = 3000;
/** The timers of an idle runtime fire now and then: too short a look would miss them. */
const IDLE_SECONDS = 5;

const RATES = {
  perSecond: "per second",
  p50Us: "p50, µs",
  p99Us: "p99, µs",
  cpuUsPerOp: "server CPU, µs each",
};

function clientsOf(count: number): string {
  return `${count} client${count === 1 ? "" : "s"}`;
}

function measurementsOf(kind: Kind, extent: Extent): Measurement[] {
  const seconds = String(extent.seconds);
  switch (kind) {
    case "startup": {
      const fields = { startMs: "to first connection, ms", stopMs: "to exit, ms" };
      return [{ title: "start and stop", args: [kind, String(STARTUPS)], fields }];
    }
    case "connect":
      return [{ title: "connect", args: [kind, String(CONNECTS)], fields: RATES }];
    case "get":
    case "count":
      return extent.clients.map((count) => ({
        title: `${kind === "get" ? "get and close" : "getCount"}, ${clientsOf(count)}`,
        args: [kind, String(count), seconds],
        fields: RATES,
      }));
    case "idle":
      return extent.idleClients.map((count) => ({
        title: `idle, ${clientsOf(count)}`,
        args: [kind, String(count), String(IDLE_SECONDS)],
        fields: {
          rssKb: "resident, KB",
          pssKb: "proportional, KB",
          threads: "threads",
          idleCpuMsPerS: "CPU, ms per s",
        },
      }));
  }
}

export function plan(extent: Extent): Measurement[] {
  return extent.only.flatMap((kind) => measurementsOf(kind, extent));
}
