/**
 * Programs of Node and Bun keep their state: one process takes any number of requests, unless it is
 * said how many share them.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, poolOf, statusOf } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/**
 * `/N` holds its requests until there are N of them, and answers all with its process's id; `/0`
 * answers each after some time.
 */
const programs = {
  node: `
    let held = [];
    require("node:http").createServer((request, response) => {
      const answer = () => response.end(String(process.pid));
      if (request.url === "/0") return void setTimeout(answer, 500);
      held.push(response);
      if (held.length < Number(request.url.slice(1))) return;
      for (const each of held) each.end(String(process.pid));
      held = [];
    }).listen(3000);`,
  bun: `
    let held = [];
    export default { async fetch(request) {
      if (new URL(request.url).pathname === "/0") {
        await Bun.sleep(500);
        return new Response(String(process.pid));
      }
      const { promise, resolve } = Promise.withResolvers();
      held.push(resolve);
      if (held.length >= Number(new URL(request.url).pathname.slice(1))) {
        for (const each of held) each(new Response(String(process.pid)));
        held = [];
      }
      return promise;
    } };`,
};
type Kind = keyof typeof programs;

async function start(kind: Kind, settings: string): Promise<{ gateway: Gateway; address: string }> {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(root);
  writeFileSync(join(root, kind === "bun" ? "server.ts" : "app.js"), programs[kind]);
  const file = join(directory, "pool.toml");
  writeFileSync(
    file,
    `listen = ["127.0.0.1:0"]\n[log]\naccess = "off"\n[[apps]]\nroot = "app"\n${settings}\n`,
  );
  const gateway = startGateway(["--config", file]);
  return { gateway, address: await gateway.address() };
}

/** On a connection of its own; fetch has no more than 256 at once. @returns the answer's body. */
function ask(url: string): Promise<string> {
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let answer = "";
  const socket = {
    open: (opened: Bun.Socket) => {
      opened.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`);
    },
    data: (_: Bun.Socket, chunk: Buffer) => {
      answer += chunk.toString("latin1");
    },
    close: () => resolve(bodyOf(answer)),
    error: (_: Bun.Socket, error: Error) => reject(error),
  };
  Bun.connect({ hostname, port: Number(port), socket }).catch(reject);
  return promise;
}

function bodyOf(answer: string): string {
  const [head = "", ...rest] = answer.split("\r\n\r\n");
  const body = rest.join("\r\n\r\n");
  return /^transfer-encoding: chunked$/im.test(head) ? (body.split("\r\n")[1] ?? "") : body;
}

/** So many at once. @returns how many each process has answered, and how many were started. */
async function askAtOnce(kind: Kind, settings: string, requests: number, batch: number) {
  const { gateway, address } = await start(kind, settings);
  const answers = Array.from({ length: requests }, () => ask(`${address}/${batch}`));
  const answered = new Map<string, number>();
  for (const pid of await Promise.all(answers)) answered.set(pid, (answered.get(pid) ?? 0) + 1);
  const { counters } = await poolOf(gateway);
  await gateway.end();
  const strange = [...answered.keys()].find((answer) => !/^\d+$/.test(answer));
  if (strange !== undefined) throw new Error(`${strange}\n${gateway.log}`);
  return { answered: [...answered.values()], started: counters.spawnsBegun };
}

for (const kind of ["node", "bun"] as const) {
  for (const settings of ["", "max_instances = 1"]) {
    test(`${kind}: 2,000 requests at once are one process's (${settings})`, async () => {
      const outcome = await askAtOnce(kind, settings, 2000, 2000);
      expect(outcome).toEqual({ answered: [2000], started: 1 });
    });
  }

  test(`${kind}: what is more than its concurrency waits for the same process`, async () => {
    const outcome = await askAtOnce(kind, "concurrency = 5", 15, 5);
    expect(outcome).toEqual({ answered: [15], started: 1 });
  });

  test(`${kind}: as many processes as are said share its requests, from the first on`, async () => {
    const { gateway, address } = await start(kind, "instances = 3");
    await ask(`${address}/1`);
    const count = async () => (await statusOf(gateway)).pool?.count;
    await until(
      "there are three",
      async () => (await count()) === 3,
      () => [gateway.log, gateway.processes],
    );
    const answers = Array.from({ length: 30 }, () => ask(`${address}/0`));
    expect(new Set(await Promise.all(answers)).size).toBe(3);
    await gateway.end();
  });
}
