/** What `serve` tells systemd (sd_notify(3)), as a socket of our own receives it. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, writeApplication } from "../helpers/gateway.ts";
import { environmentOf, pidOf, type ProcessFacts, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Prints each datagram as one line of JSON; binds before it prints the first, an empty one. */
const receiver = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('""', flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

/** Receives on a path, or an abstract name that begins with NUL. */
async function receive(name: string): Promise<{ messages: string[] } & AsyncDisposable> {
  const python = name.startsWith("@")
    ? receiver.replace("sys.argv[1]", "chr(0) + sys.argv[1]")
    : receiver;
  const child = Bun.spawn(["python3", "-c", python, name.replace("@", "")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const messages: string[] = [];
  void (async () => {
    let text = "";
    for await (const chunk of child.stdout) {
      text += Buffer.from(chunk).toString();
      messages.splice(0, messages.length, ...text.split("\n").slice(0, -1).map(parse));
    }
  })();
  await until("it receives", () => messages.length > 0);
  return {
    messages,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

function parse(line: string): string {
  return JSON.parse(line) as string;
}

test("ready, reloading and ready again, stopping; children do not get the socket", async () => {
  const directory = temporaryDirectory();
  const name = join(directory, "notify");
  await using systemd = await receive(name);
  const { messages } = systemd;
  const file = join(directory, "pool.toml");
  writeApplication(directory);
  writeFileSync(file, 'listen = ["127.0.0.1:0"]\n[[apps]]\nroot = "app"\n');
  const gateway = startGateway(["--config", file], { environment: { NOTIFY_SOCKET: name } });
  const ready = await until("it is ready", () => messages.find((text) => text.includes("READY=1")));
  expect(ready.split("\n")).toEqual([
    "READY=1",
    `MAINPID=${gateway.pid}`,
    "STATUS=1 application, 1 worker",
  ]);
  for (const { pid } of gateway.processes) {
    expect(environmentOf(pid)).not.toContain("NOTIFY_SOCKET");
  }
  gateway.signal("SIGHUP");
  const reloading = await until("it reloads", () =>
    messages.find((m) => m.startsWith("RELOADING")),
  );
  const [, microseconds] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\n/.exec(reloading) ?? [];
  // CLOCK_MONOTONIC does not count what the machine has slept: it is never ahead of the uptime.
  const uptime = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]);
  expect(Number(microseconds)).toBeGreaterThan(1e6);
  expect(Number(microseconds)).toBeLessThanOrEqual((uptime + 1) * 1e6);
  await until(
    "it is ready again",
    () => messages.filter((m) => m.startsWith("READY")).length === 2,
  );
  await gateway.end();
  expect(messages.at(-1)).toStartWith("STOPPING=1\n");
});

test("a wrong file is told, and the old configuration is ready again", async () => {
  const directory = temporaryDirectory();
  const name = `@pool-test-${process.pid}`;
  await using systemd = await receive(name);
  const { messages } = systemd;
  const file = join(directory, "pool.toml");
  writeApplication(directory);
  writeFileSync(file, 'listen = ["127.0.0.1:0"]\n[[apps]]\nroot = "app"\n');
  const gateway = startGateway(["--config", file], { environment: { NOTIFY_SOCKET: name } });
  await gateway.address();
  writeFileSync(file, "workers = 0\n");
  gateway.signal("SIGHUP");
  const status = await until("it says so", () => messages.find((m) => m.includes("not reloaded")));
  expect(status).toContain("workers: is 0");
  expect(status).toStartWith("READY=1\n");
  await gateway.end();
});

test("with a watchdog, it shows that it lives, from before it is ready", async () => {
  const directory = temporaryDirectory();
  const name = join(directory, "notify");
  await using systemd = await receive(name);
  const gateway = startGateway([writeApplication(directory), "--listen", "127.0.0.1:0"], {
    environment: { NOTIFY_SOCKET: name, WATCHDOG_USEC: "40000" },
  });
  await until("it has shown it three times", () => {
    return systemd.messages.filter((text) => text === "WATCHDOG=1").length >= 3;
  });
  // Systemd counts on while a new binary comes in the place of the one that was ready.
  expect(systemd.messages.find((text) => text !== "")).toBe("WATCHDOG=1");
  await gateway.end();
});

test("with a watchdog, it shows nothing while a process of its own does not answer", async () => {
  const whose: readonly ((gateway: Gateway) => ProcessFacts | undefined)[] = [
    (gateway) => gateway.poolServer,
    (gateway) => gateway.workers[0],
  ];
  await Promise.all(whose.map(showsNothingWhileStopped));
});

async function showsNothingWhileStopped(find: (gateway: Gateway) => ProcessFacts | undefined) {
  const directory = temporaryDirectory();
  const name = join(directory, "notify");
  await using systemd = await receive(name);
  const file = join(directory, "pool.toml");
  writeApplication(directory);
  // Silence has no consequence of its own here.
  writeFileSync(file, 'listen = ["127.0.0.1:0"]\nsilence_time = "0s"\n[[apps]]\nroot = "app"\n');
  const gateway = startGateway(["--config", file], {
    environment: { NOTIFY_SOCKET: name, WATCHDOG_USEC: "40000" },
  });
  await gateway.address();
  const who = pidOf(find(gateway));
  const beats = (): number => systemd.messages.filter((text) => text === "WATCHDOG=1").length;
  await until("it shows that it lives", beatsAgain(beats));
  await stop(who);
  await until("it shows nothing any more", () => isQuiet(beats), undefined, 20_000);
  process.kill(who, "SIGCONT");
  await until("it shows that it lives again", beatsAgain(beats));
  await gateway.end();
}

function beatsAgain(beats: () => number): () => boolean {
  const before = beats();
  return () => beats() > before;
}

/** Ten times the interval at which it would have shown it. */
async function isQuiet(beats: () => number): Promise<boolean> {
  const before = beats();
  await Bun.sleep(200);
  return beats() === before;
}
