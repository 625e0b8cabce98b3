/**
 * The library with the real server: starting, reaching, ending, and what happens when either dies.
 */
import { expect, test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  PoolError,
  serverExecutable,
  ServerGoneError,
  startPoolServer,
} from "../../src/parent/index.ts";
import { sendSignal } from "../../src/native/process.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { rejection } from "./rejection.ts";
import { untilGone } from "../helpers/processes.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

/** Whether there is such a process (a zombie counts). */
function isAlive(pid: number): boolean {
  return sendSignal(pid, 0);
}

test("a started server answers, and ends with status 0 when it is closed", async () => {
  const server = startPoolServer();
  const pool = await server.connect();
  expect(await pool.getCount()).toBe(0);
  expect(await pool.getActive()).toBe(0);
  expect(await pool.getSpawnServerPid()).toBe(server.pid);
  pool.close();
  await server.close();
  expect(await server.exited).toBe(0);
  expect(isAlive(server.pid)).toBe(false);
});

test("settings reach it and show in its snapshot", async () => {
  await using server = startPoolServer();
  using pool = await server.connect();
  pool.setMax(7);
  pool.setMaxPerApp(3);
  pool.setMaxIdleTime(60);
  pool.setUseGlobalQueue(true);
  const snapshot = JSON.stringify(await pool.inspect());
  expect(snapshot).toContain('"max":7');
  expect(snapshot).toContain('"maxPerApp":3');
});

test("closing it rejects what waits on its connections", async () => {
  const server = startPoolServer();
  const pool = await server.connect();
  await server.close();
  await pool.closed;
  expect(await rejection(pool.get("/srv/a"))).toBeInstanceOf(ServerGoneError);
});

test("a server killed outright is noticed, and connect says how it ended", async () => {
  await using server = startPoolServer();
  const pool = await server.connect();
  server.kill("SIGKILL");
  await pool.closed;
  expect(await rejection(pool.getCount())).toBeInstanceOf(ServerGoneError);
  expect(String(await rejection(server.connect()))).toContain("it has ended with status 137");
});

test("a server that does not end is ended with force", async () => {
  const server = startPoolServer();
  (await server.connect()).close();
  server.kill("SIGSTOP");
  await server.close({ graceMs: 20, afterTermMs: 20 });
  expect(await server.exited).toBe(137);
});

test("a server that refuses its options says so on stderr, and connect tells its status", async () => {
  const log = join(temporaryDirectory(), "stderr");
  const stderr = openSync(log, "w");
  await using server = startPoolServer({
    extraOptions: ["--no-such-option"],
    stdio: ["ignore", "ignore", stderr],
  });
  closeSync(stderr);
  expect(String(await rejection(server.connect()))).toContain("it has ended with status 2");
  expect(readFileSync(log, "utf8")).toContain("--no-such-option");
});

test("what cannot be executed is an error at once", () => {
  expect(() => startPoolServer({ executable: "/no/such/server" })).toThrow(PoolError);
  expect(() => startPoolServer({ executable: "/no/such/server" })).toThrow("is it built?");
  expect(() => startPoolServer({ executable: "/etc/passwd" })).toThrow(
    /^start pool server '\/etc\/passwd': /,
  );
});

test("the runtime's own switches in our environment do not reach it", async () => {
  await using server = startPoolServer({ env: { ...process.env, BUN_BE_BUN: "1" } });
  using pool = await server.connect();
  expect(await pool.getCount()).toBe(0);
});

test("a worker process reaches it through the inherited wake socket", async () => {
  await using server = startPoolServer();
  const worker = Bun.spawn([process.execPath, join(import.meta.dir, "worker.ts")], {
    stdio: ["ignore", "pipe", "inherit", server.wakeFd],
  });
  expect(await new Response(worker.stdout).text()).toContain('"max":17');
  expect(await worker.exited).toBe(0);
  using pool = await server.connect();
  expect(JSON.stringify(await pool.inspect())).toContain('"max":17');
});

for (const how of ["killed", "done"]) {
  test(`a parent that is ${how} takes its server along`, async () => {
    const parent = Bun.spawn([process.execPath, join(import.meta.dir, "careless-parent.ts"), how], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pid = Number(await new Response(parent.stdout).text());
    expect(pid).toBeGreaterThan(1);
    expect(await parent.exited).toBe(how === "killed" ? 137 : 0);
    await untilGone(pid);
  });
}

test("the server binary is looked for next to the package", () => {
  expect(serverExecutable()).toBe(
    join(import.meta.dir, "../../dist/ApplicationPoolServerExecutable"),
  );
});
