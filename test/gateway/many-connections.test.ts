/** More connections than there are descriptors for. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const limit = 256;
const wrapper = ["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh"];

/** Processor time of a process so far, in seconds (proc(5): fields 14 and 15, hundredths). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test.each([
  ["one that has begun a request's head", 1],
  ["hundreds that have begun a request's head", 400],
])("who asks is served beside %s", async (_what, half) => {
  const options = ["--listen", "127.0.0.1:0", "--access-log", "off"];
  const gateway = startGateway([writeApplication(temporaryDirectory()), ...options], { wrapper });
  const address = await gateway.address();
  const port = Number(new URL(address).port);
  expect((await fetch(`${address}/`, { keepalive: false })).status).toBe(200);
  const sockets: Socket[] = [];
  for (let index = 0; index < 400; index += 1) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    sockets.push(socket);
    await new Promise((resolve) => socket.once("connect", resolve));
    if (index < half) socket.write("GET /");
  }
  const status = async () => (await fetch(`${address}/x`, { keepalive: false })).status;
  await until("one is served", async () => (await status()) === 200);
  for (let i = 0; i < 20; i += 1) expect(await status()).toBe(200);
  for (const socket of sockets) socket.destroy();
  await gateway.end();
});

test("the longest idle ones are closed, requests are served, and nothing spins", async () => {
  const options = ["--listen", "127.0.0.1:0", "--access-log", "off"];
  const directory = writeApplication(temporaryDirectory());
  const gateway = startGateway([directory, ...options], { wrapper });
  const address = await gateway.address();
  const port = Number(new URL(address).port);
  expect((await fetch(`${address}/`, { keepalive: false })).status).toBe(200);
  const closed = new Set<number>();
  const sockets: Socket[] = [];
  for (let index = 0; index < 400; index += 1) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.on("close", () => closed.add(index));
    sockets.push(socket);
    await new Promise((resolve) => socket.once("connect", resolve));
  }
  await until("some are closed", () => closed.size >= 400 - limit);
  for (let index = 0; index < 100; index += 1) expect(closed.has(index)).toBe(true);
  expect(closed.has(399)).toBe(false);
  for (let i = 0; i < 20; i += 1) {
    expect((await fetch(`${address}/${i}`, { keepalive: false })).status).toBe(200);
  }
  const last = sockets[399];
  last?.write("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
  const answer = await new Promise((resolve) =>
    last?.once("data", (data) => resolve(String(data))),
  );
  expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
  const [worker] = gateway.workers;
  const before = cpuSeconds(pidOf(worker));
  await Bun.sleep(1000);
  expect(cpuSeconds(pidOf(worker)) - before).toBeLessThan(0.3);
  for (const socket of sockets) socket.destroy();
  await gateway.end();
});
