/**
 * What an instance leaves behind when it has ended, in numbers: all of it goes, at no cost to
 * others.
 *
 * Runs alone: it makes thousands of processes, and a machine that is busy with them is no use.
 */
import { expect } from "bun:test";

import { faultTests, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { markedProcesses } from "../helpers/processes.ts";

countDescriptors();
const faultTest = faultTests();

/**
 * Forks so many processes on a request, and says with each hundred that it is at it; each 500th
 * makes another one before it goes by SIGTERM.
 */
const swarm = (count: number): string => `
import os, signal

def successor(*_):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: signal.pause()
    os._exit(0)

def fork_all():
    for number in range(${count}):
        if os.fork() == 0:
            if number % 500 == 0: signal.signal(signal.SIGTERM, successor)
            while True: signal.pause()
        if number % 100 == 99: yield b"."

def application(environ, start_response):
    start_response("200 OK", [])
    return fork_all()
`;

faultTest(
  "2,500 processes that a killed instance leaves go, at next to no descriptors",
  async (server) => {
    const client = await server.connect();
    const before = openDescriptors(server.pid).size;
    const root = writeFiles(server, "swarm", { "wsgi.py": swarm(2500) });
    const options = { appType: "wsgi", spawnMethod: "conservative" };
    const { pid } = await request(client, root, options);
    expect(markedProcesses(server.mark).length).toBeGreaterThan(2500);
    process.kill(pid, "SIGKILL");
    let most = 0;
    await until(
      "all are gone",
      () => {
        most = Math.max(most, openDescriptors(server.pid).size);
        return markedProcesses(server.mark).length === 1;
      },
      () => markedProcesses(server.mark).length,
      30_000,
    );
    expect(most - before).toBeLessThan(20);
  },
);
