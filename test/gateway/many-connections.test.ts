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

/** Looks in a row that find a process asleep: one that spins is hardly ever found so. */
const looks = 20;

/** Waits until a process has nothing to do. */
async function untilAsleep(pid: number): Promise<void> {
  let asleep = 0;
  await until("the process sleeps", () => {
    const [state] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1] ?? "";
    asleep = state === "S" ? asleep + 1 : 0;
    return asleep === looks;
  });
}

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
  await untilAsleep(pidOf(worker));
  for (const socket of sockets) socket.destroy();
  await gateway.end();
});
