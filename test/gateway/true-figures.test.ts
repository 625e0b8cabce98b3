/**
 * Every figure of a gateway is what is true, while requests wait and after: true-metrics.ts and
 * true-status.ts have a comparison for each, and what has none fails.
 */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { metricsOf, readExposition } from "../helpers/exposition.ts";
import { type Gateway, gateways, statusOf } from "../helpers/gateway.ts";
import { environmentOf, pidOf, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { Client, layOut, say } from "./counted-load.ts";
import { compareMetrics, isMemoryTrue, names, near } from "./true-metrics.ts";
import { compareStatus, compareTable } from "./true-status.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Instances by their applications, as the kernel has them. */
function instancesOf(gateway: Gateway, directory: string): Map<string, number[]> {
  const server = gateway.poolServer?.pid;
  const all = gateway.processes.filter(({ parent }) => parent === server);
  const found = new Map<string, number[]>();
  for (const { pid } of all) {
    const at = names.find((name) => cwdOf(pid) === join(directory, name));
    if (at !== undefined) found.set(at, [...(found.get(at) ?? []), pid]);
  }
  return found;
}

function cwdOf(pid: number): string | undefined {
  return /(?:^|\0)PWD=([^\0]*)/.exec(environmentOf(pid))?.[1];
}

test("every figure is what is true", async () => {
  const directory = temporaryDirectory();
  const startedMs = performance.now();
  const gateway = startGateway(["--config", layOut(directory)]);
  const client = new Client(await gateway.address());
  const admin = await until("it says so", () =>
    gateway.lines.flatMap((line) => /^admin address (.*)$/.exec(line)?.[1] ?? []).at(-1),
  );
  for (const [kind, end] of [
    ["gateway-worker", " gateway-worker"],
    ["gateway-admin", " gateway-admin"],
    ["the pool server", ""],
  ] as const) {
    const find = () =>
      end === ""
        ? gateway.poolServer
        : gateway.processes.find(({ command }) => command.endsWith(end));
    const old = pidOf(await until(`there is ${kind}`, find));
    process.kill(old, "SIGKILL");
    await untilGone(old);
    await until(`there is another ${kind}`, () => find() !== undefined);
  }
  await until(
    "all answer",
    async () => (await fetch(`${admin}/readyz`).catch(() => undefined))?.ok,
  );

  let waitSinceMs = 0;
  const compare = async (underWay: number, left: number, heldMs: number): Promise<void> => {
    const seen = await until(
      "all is told",
      async () => {
        const text = await metricsOf(admin);
        const { values } = readExposition(text);
        const isTold = ["", ...names].every((app) => {
          const count = values.get(`application_pool_request_seconds_count{app="${app}"}`);
          return count === client.all(app) + (app === "shop" ? left : 0);
        });
        const waiting = values.get('application_pool_requests_under_way{app="shop"}');
        // Sessions that are kept for a moment are given back.
        const active = values.get("application_pool_active_processes");
        if (!isTold || waiting !== underWay || active !== Math.min(1, underWay)) return false;
        const table = await say(gateway, "status");
        const status = await statusOf(gateway);
        // Nothing has happened from the first of the three to the last.
        const gets = values.get("application_pool_gets_total");
        const closed = values.get("application_pool_sessions_closed_total");
        const { counters } = status.pool ?? {};
        const isStill = gets === counters?.gets && closed === counters?.sessionsClosed;
        return isStill && { text, table, status };
      },
      () => [...client.counted],
    );
    await until("memory is true", async () =>
      isMemoryTrue(await statusOf(gateway), await metricsOf(admin)),
    );
    const pids = instancesOf(gateway, directory);
    const known = { gateway, directory, client, underWay, left, startedMs, waitSinceMs, heldMs };
    const truth = { ...known, pids, status: seen.status };
    compareMetrics(truth, seen.text);
    compareStatus(truth);
    compareTable(truth, seen.table);
  };

  for (const path of ["/", "/stream", "/file.bin", "/?status=304", "/?status=404&bytes=70000"]) {
    await client.ask("blog", path);
  }
  await client.ask("blog", "/?bytes=700", "HEAD");
  await client.ask("blog", "/?status=503&bytes=0");
  await client.ask("", "/");
  await client.ask("shop", "/");
  await client.ask("other", "/");
  waitSinceMs = performance.now();
  const go = join(directory, "go");
  const held = client.ask("shop", `/hold?until=${go}`);
  await until("it is held", async () => {
    const { applications } = await statusOf(gateway);
    return applications[0]?.figures.underWay === 1;
  });
  const heldSinceMs = performance.now();
  const behind = client.ask("shop", "/");
  const leave = client.askInVain("shop", "/");
  await compare(3, 0, 0);
  await leave();
  const heldMs = performance.now() - heldSinceMs;
  writeFileSync(go, "");
  await Promise.all([held, behind]);

  for (let times = 0; times < 3; times += 1) await client.ask("broken", "/");
  const shop = await client.ask("shop", "/");
  process.kill(shop, "SIGKILL");
  await gateway.logged("instance died");
  await client.ask("shop", "/");
  expect(await say(gateway, "restart", "shop")).toBe("shop: restarted\n");
  await client.ask("shop", "/");
  expect(await say(gateway, "detach", String(await client.ask("other", "/")))).toContain(
    "detached",
  );
  await gateway.logged("reason=detached", "application restarted");
  await compare(0, 1, heldMs);
  await gateway.end();
}, 60_000);

test("the share of a processor is that of the kernel's account", async () => {
  const directory = temporaryDirectory();
  const gateway = startGateway(["--config", layOut(directory)]);
  const client = new Client(await gateway.address());
  const pid = await client.ask("other", "/");
  const go = join(directory, "go");
  const share = async (): Promise<readonly [said: number, true_: number]> => {
    const [beforeMs, before] = [performance.now(), processorMs(pid)];
    const table = await say(gateway, "status", "--app", "other");
    const true_ = ((processorMs(pid) - before) / (performance.now() - beforeMs)) * 100;
    return [Number(/(\d+) %/.exec(table)?.[1]), true_];
  };
  await until("it is idle", async () => (await share()).every((percent) => percent < 5));
  const burning = client.ask("other", `/burn?until=${go}`);
  // Not of the same moment: where others want the processor, too, they agree now and then.
  await until("they agree", async () => {
    const [said, true_] = await share();
    return said > 5 && near(said, true_, 0.3);
  });
  writeFileSync(go, "");
  await burning;
  await gateway.end();
}, 60_000);

function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
