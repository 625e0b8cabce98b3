/**
 * Measures a server from outside, as a parent and its clients see it, beside a baseline if one is
 * given: both in turn within one run, because a machine's speed changes from minute to minute and
 * only the ratios hold.
 *
 *     bun scripts/bench.ts [--server PATH] [--baseline PATH] [--only get,idle] [--json FILE]
 *                          [--clients 1,8,64] [--idle-clients 0,1000] [--repeats 3] [--seconds 2]
 *     bun scripts/bench.ts http [...]      the gateway and its peers: scripts/bench/http.ts
 *     bun scripts/bench.ts faults [...]    what visitors notice: scripts/bench/http-faults.ts
 *     bun scripts/bench.ts restarts [...]  rolling restarts: scripts/bench/restarts.ts
 *     bun scripts/bench.ts slow [...]      slow and idle visitors: scripts/bench/slow-visitors.ts
 *     bun scripts/bench.ts websockets [...] open ones, and echo: scripts/bench/websockets.ts
 *     bun scripts/bench.ts neighbours [...]  four bad ones, alone: scripts/bench/neighbours.ts
 *     bun scripts/bench.ts spawn [...]     starting instances: scripts/bench/spawn.ts
 *     bun scripts/bench.ts tenants [...]   a good one beside bad ones: scripts/bench/tenants.ts
 *
 * A baseline is anything that speaks the same protocol and takes the same arguments. The load comes
 * from C programs (scripts/bench/load.c, stub.c), which need a C compiler (`cc`, or $CC).
 */

import { cpus, loadavg, release } from "node:os";
import { numberFlag, numbersFlag, optionalPath, readFlags, wordsFlag } from "./bench/flags.ts";
import { serverFlag } from "./bench/frame.ts";
import { benchHttp } from "./bench/http.ts";
import { benchFaults } from "./bench/http-faults.ts";
import { LoadTools } from "./bench/load-tools.ts";
import { KINDS, plan } from "./bench/measurements.ts";
import { compare, type Row, type Runs, table } from "./bench/rows.ts";
import { benchNeighbours } from "./bench/neighbours.ts";
import { benchRestarts } from "./bench/restarts.ts";
import { benchSlow } from "./bench/slow-visitors.ts";
import { benchSpawn } from "./bench/spawn.ts";
import { benchTenants } from "./bench/tenants.ts";
import { benchWebsockets } from "./bench/websockets.ts";
import { showUsage } from "./usage.ts";

const readOptions = (args: string[]) =>
  readFlags(args, {
    server: serverFlag,
    baseline: optionalPath,
    json: optionalPath,
    only: wordsFlag(KINDS),
    clients: numbersFlag(1, 8, 64),
    "idle-clients": numbersFlag(0, 1000),
    repeats: numberFlag(3),
    seconds: numberFlag(2, 0.1),
  });
type Options = ReturnType<typeof readOptions>;

async function measureAll(options: Options, tools: LoadTools): Promise<Row[]> {
  const rows: Row[] = [];
  for (const measurement of plan({ ...options, idleClients: options["idle-clients"] })) {
    const server: Runs = [];
    const baseline: Runs = [];
    for (let turn = 0; turn < options.repeats; turn++) {
      server.push(await tools.run(options.server, measurement.args));
      if (options.baseline !== undefined) {
        baseline.push(await tools.run(options.baseline, measurement.args));
      }
    }
    process.stderr.write(`measured ${measurement.title}\n`);
    rows.push(...compare(measurement, server, baseline));
  }
  return rows;
}

const commands: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  http: benchHttp,
  faults: benchFaults,
  restarts: benchRestarts,
  slow: benchSlow,
  websockets: benchWebsockets,
  neighbours: benchNeighbours,
  spawn: benchSpawn,
  tenants: benchTenants,
};

async function main(args: string[]): Promise<void> {
  const [name = "", ...rest] = args;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command !== undefined) return await command(rest);
  showUsage(args, import.meta.path);
  const options = readOptions(args);
  for (const path of [options.server, options.baseline]) {
    if (path !== undefined && !(await Bun.file(path).exists())) {
      throw new Error(`measure ${path}: no such file`);
    }
  }
  using tools = await LoadTools.compile();
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, kernel: release() };
  const loadBefore = loadavg()[0] ?? 0;
  if (loadBefore > 1) {
    process.stderr.write(`load average ${loadBefore}: other work blurs what follows\n`);
  }
  const rows = await measureAll(options, tools);
  console.log(table(rows, options.baseline !== undefined));
  if (options.json !== undefined) {
    const { server, baseline, repeats, seconds } = options;
    const report = { server, baseline, repeats, seconds, machine, loadBefore, rows };
    await Bun.write(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
}

try {
  await main(Bun.argv.slice(2));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
