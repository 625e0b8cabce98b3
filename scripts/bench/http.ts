/**
 * The gateway and its peers under HTTP load, in turn on this machine.
 *
 *     bun scripts/bench.ts http [--only rack,wsgi,node,bun,asgi,logged,threads,many]
 *                               [--connections 1,16,64,1000] [--rounds 3] [--seconds 2]
 *                               [--server PATH] [--write FILE]
 *
 * `--write` puts the tables into a document, between the lines `<!-- bench http -->` and
 * `<!-- end -->`. Peers that are not installed are left out and named. The load comes from wrk.
 */
import { loadavg } from "node:os";

import { numberFlag, numbersFlag, readFlags, wordsFlag } from "./flags.ts";
import { withoutAutogroup } from "./autogroup.ts";
import { machineLine } from "./document.ts";
import { measured, say, usualFlags } from "./frame.ts";
import { MANY_PEERS, manyGateways } from "./http-many.ts";
import {
  HELLO_CONNECTIONS,
  type Extent,
  measureLogged,
  measureMany,
  measureThreads,
  measureType,
} from "./http-measure.ts";
import {
  gateway,
  HTTP_TYPES,
  type HttpServer,
  type HttpType,
  missingPackages,
  PEERS,
  threaded,
} from "./http-servers.ts";
import { type Figure, type Section, sectionTable } from "./http-table.ts";

const KINDS = [...HTTP_TYPES, "logged", "threads", "many"] as const;
type Kind = (typeof KINDS)[number];

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    only: wordsFlag(KINDS),
    connections: numbersFlag(1, 16, 64, 1000),
    rounds: numberFlag(3),
    seconds: numberFlag(2),
  });
type Options = ReturnType<typeof readOptions>;

/** The servers that can be measured here; says which cannot, and what would bring them. */
function present<T extends { name: string; needs: Readonly<Record<string, string>> }>(
  servers: readonly T[],
): T[] {
  return servers.filter((server) => {
    const missing = missingPackages(server);
    if (missing.length === 0) return true;
    say(`left out: ${server.name} (apt-get install ${missing.join(" ")})`);
    return false;
  });
}

async function measure(kind: Kind, options: Options, extent: Extent): Promise<Figure[]> {
  if (kind === "many") {
    const servers = [...manyGateways(options.server), ...present(MANY_PEERS)];
    return await measureMany(servers, extent);
  }
  if (kind === "threads") return await measureThreaded(options.server, extent);
  if (kind === "logged") {
    const figures: Figure[] = [];
    for (const type of HTTP_TYPES) {
      figures.push(...(await measureLogged(type, serversFor(type, options.server), extent)));
    }
    return figures;
  }
  return await measureType(kind, serversFor(kind, options.server), extent);
}

function serversFor(type: HttpType, executable: string): HttpServer[] {
  return [gateway(executable), ...present(PEERS.filter(({ types }) => types.includes(type)))];
}

async function measureThreaded(executable: string, extent: Extent): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const type of ["rack", "wsgi"] as const) {
    const servers = threaded(executable).filter(({ types }) => types.includes(type));
    figures.push(...(await measureThreads(type, present(servers), extent)));
  }
  return figures;
}

const helloColumns = HELLO_CONNECTIONS.flatMap((count) => [
  `hello/s at ${count}`,
  `p99 at ${count}, ms`,
]);

function sections(connections: readonly number[]): Section[] {
  return [
    { title: "Requests a second", columns: connections.map((count) => `${count} conn.`) },
    { title: "Bodies of 1 MiB, 16 connections", columns: ["down, MB/s", "up, MB/s"] },
    { title: "99th percentile, ms", columns: connections.map((count) => `p99 at ${count}`) },
    {
      title: "From the server's start to an answer, first request, ms; memory idle",
      columns: ["from start, ms", "first, ms", "idle, MiB"],
    },
    {
      title: "A browser's twelve headers, access logs on, 16 connections",
      columns: ["logged/s", "logged, p99"],
    },
    {
      title:
        "2 processes of 5 threads: an application that sleeps 10 ms (64 connections), and hello",
      columns: ["sleeping/s", "sleeping, p99", ...helloColumns],
    },
    {
      title: "Many applications, 16 connections",
      columns: ["requests/s", "p99, ms", "failed", "memory, MiB"],
    },
  ];
}

async function measureAll(options: Options, directory: string): Promise<string> {
  const figures: Figure[] = [];
  for (const kind of options.only) {
    figures.push(...(await measure(kind, options, { ...options, directory, say })));
  }
  const tables = sections(options.connections).map((section) => sectionTable(section, figures));
  return [`${machineLine()}\n`, ...tables.filter((table) => table !== "")].join("\n");
}

/** Runs it (frame.ts). */
export async function benchHttp(args: string[]): Promise<void> {
  const options = readOptions(args);
  if (missingPackages({ needs: { wrk: "wrk" } }).length > 0) {
    throw new Error("there is no wrk, which makes the load (apt-get install wrk)");
  }
  const before = loadavg()[0] ?? 0;
  if (before > 1) say(`load average ${before}: other work blurs what follows`);
  await measured("http", options, async (directory) => {
    return { text: await withoutAutogroup(say, () => measureAll(options, directory)) };
  });
}
