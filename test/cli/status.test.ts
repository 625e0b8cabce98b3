/** `status`: what it shows of a running gateway; what it says where there is none, or several. */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";

import { runtimeVariable } from "../../src/gateway/supervisor/runtime-directory.ts";
import { until } from "../helpers/condition.ts";
import {
  gatewayEnvironment,
  gateways,
  holdRequest,
  runCommand,
  writeApplication,
  type Gateway,
} from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const status = (...args: string[]) => runCommand("status", ...args);

async function serving(): Promise<Gateway> {
  const app = writeApplication(temporaryDirectory());
  const gateway = startGateway([app, "--listen", "127.0.0.1:0"]);
  await (await fetch(await gateway.address())).text();
  return gateway;
}

test("a running gateway is found by itself and shown, with its processes", async () => {
  const gateway = await serving();
  const { stdout, ...end } = await status();
  expect(end).toMatchObject({ status: 0 });
  expect(stdout).toContain(`Gateway ${gateway.pid}: ${await gateway.address()}\n`);
  const processes = [gateway.workers[0]?.pid, gateway.poolServer?.pid];
  expect(stdout).toContain(`  workers ${processes[0]}, pool server ${processes[1]}, version `);
  expect(stdout).toContain("  1 of 20 processes, ");
  expect(stdout).toMatch(/\napp +1 +0 +0 +(?:[01]|0\.[0-9]+) .* [0-9]+ % +[0-9]+ MiB +0\n$/);
  const slow = await holdRequest(gateway, temporaryDirectory());
  await until("it is under way", async () => /\napp +1 +1 +0 /.test((await status()).stdout));
  await (await slow.letGo()).text();
  // Once a request's end is known to its visitor, nothing says that it is under way.
  expect((await status()).stdout).toMatch(/\napp +1 +0 +0 /);
  const one = await status("--app", "app");
  expect(one.stdout).toMatch(/\n *[0-9]+ {2}(active|idle) +[01] +[0-2] +[0-9]+ %/);
  expect((await status("--app", "none")).stderr).toContain("there is no application 'none'");
  await gateway.end();
});

test("as JSON and as OpenMetrics, for programs", async () => {
  const gateway = await serving();
  const json = JSON.parse((await status("--json")).stdout) as { pid: number; pool: object };
  expect(json).toMatchObject({ pid: gateway.pid, pool: { count: 1, limits: { max: 20 } } });
  const { stdout } = await status("--openmetrics");
  expect(stdout).toContain("application_pool_current_processes 1\n");
  expect(stdout).toEndWith("# EOF\n");
  await gateway.end();
});

test("none runs: exit 1; several: they are named, exit 2; one of them by its process", async () => {
  const none = await status();
  expect(none.status).toBe(1);
  expect(none.stderr).toMatch(/no gateway( of this user)? runs /);
  const [first, second] = [await serving(), await serving()];
  const several = await status();
  expect(several.status).toBe(2);
  for (const { pid } of [first, second]) expect(several.stderr).toContain(String(pid));
  expect((await status("--pid", String(second.pid))).stdout).toContain(`Gateway ${second.pid}:`);
  await Promise.all([first.end(), second.end()]);
});

test("one that runs and does not answer is not called one that does not run", async () => {
  const gateway = await serving();
  gateway.signal("SIGSTOP");
  const silent = await status();
  gateway.signal("SIGCONT");
  expect(silent).toMatchObject({ status: 1, stdout: "" });
  expect(silent.stderr).toContain(`gateway ${gateway.pid} runs, and does not answer within 5 s`);
  await gateway.end();
});

test("its socket is for its user only, leaves with it, and one left behind is cleared away", async () => {
  const directory = join(
    gatewayEnvironment()[runtimeVariable] ?? "",
    `application-pool-${process.getuid?.()}`,
  );
  const gateway = await serving();
  const socket = join(directory, `${gateway.pid}.sock`);
  await until("there is a socket", () => readdirSync(directory).includes(`${gateway.pid}.sock`));
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  await gateway.end();
  expect(readdirSync(directory)).toEqual([]);
  const killed = await serving();
  killed.signal("SIGKILL");
  await killed.ended;
  expect((await status()).status).toBe(1);
  expect(readdirSync(directory)).toEqual([]);
});

test("a socket on which a running process does not listen just now is left to it", async () => {
  const gateway = await serving();
  const directory = join(
    gatewayEnvironment()[runtimeVariable] ?? "",
    `application-pool-${process.getuid?.()}`,
  );
  // As between two programs in one process: the file is there, and nobody listens.
  const name = `${process.pid}.sock`;
  const made = `from socket import *; socket(AF_UNIX).bind("${join(directory, name)}")`;
  expect(Bun.spawnSync(["python3", "-c", made]).exitCode).toBe(0);
  expect((await status()).status).toBe(0);
  expect(readdirSync(directory)).toContain(name);
  unlinkSync(join(directory, name));
  await gateway.end();
});

test("a directory that others can enter is not used: served all the same, with a warning", async () => {
  const base = temporaryDirectory();
  mkdirSync(join(base, `application-pool-${process.getuid?.()}`), { mode: 0o755 });
  const app = writeApplication(temporaryDirectory());
  const gateway = startGateway([app, "--listen", "127.0.0.1:0"], {
    environment: { [runtimeVariable]: base },
  });
  await until("it warns", () => gateway.log.includes("others can enter it"));
  expect((await fetch(await gateway.address())).status).toBe(200);
  await gateway.end();
});

test("options that do not go together, or are not known: exit 2", async () => {
  expect((await status("--json", "--openmetrics")).status).toBe(2);
  expect((await status("extra")).stderr).toContain("unexpected argument 'extra'");
  expect((await status("--jsn")).stderr).toContain("is '--json' meant?");
});
