// `bench http`: what it reads of wrk, how it shows what it found, and that of a server it started
// nothing is left.

import { expect, test } from "bun:test";
import { join } from "node:path";

import { missingPackages } from "../../scripts/bench/http-servers.ts";
import { markdownTable, sectionTable } from "../../scripts/bench/http-table.ts";
import { freePort, StartedServer } from "../../scripts/bench/started-server.ts";
import { parseWrk } from "../../scripts/bench/wrk.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

const WRK = `Running 2s test @ http://127.0.0.1:4101/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   725.48us  475.33us  11.08ms   94.30%
    Req/Sec    23.65k     4.57k   27.58k    90.00%
  Latency Distribution
     50%  629.00us
     75%  760.00us
     90%    0.95ms
     99%    3.04ms
  47060 requests in 2.00s, 7.94MB read
`;
const RATES = "Requests/sec:  23517.99\nTransfer/sec:      3.97MB\n";

test("wrk's rate and percentiles are read, in milliseconds whatever their unit", () => {
  expect(parseWrk(WRK + RATES)).toEqual({
    perSecond: 23517.99,
    p50Ms: 0.629,
    p99Ms: 3.04,
    failed: 0,
  });
  const slow = WRK.replace("3.04ms", "8.66s").replace("629.00us", "1.50m");
  expect(parseWrk(slow + RATES)).toMatchObject({ p50Ms: 90_000, p99Ms: 8660 });
});

test("answers of status 400 and more and errors of sockets count as failed", () => {
  const errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n";
  const statuses = "  Non-2xx or 3xx responses: 100\n";
  expect(parseWrk(WRK + errors + statuses + RATES).failed).toBe(110);
});

test("output that is not wrk's is an error", () => {
  expect(() => parseWrk("unable to connect")).toThrow("wrk printed no rate");
});

test("a table shows medians, and the median of each round's ratio to the first server", () => {
  const figures = [
    { group: "rack", server: "ours", column: "rate", runs: [100, 200, 300] },
    { group: "rack", server: "theirs", column: "rate", runs: [100, 100, 600] },
    { group: "wsgi", server: "ours", column: "other", runs: [1] },
  ];
  expect(sectionTable({ title: "Rates", columns: ["rate", "unmeasured"] }, figures)).toBe(
    [
      "Rates\n",
      "|      | server |       rate |",
      "| ---- | ------ | ---------: |",
      "| rack | ours   |        200 |",
      "|      | theirs | 100 (1.00) |\n",
    ].join("\n"),
  );
  expect(sectionTable({ title: "None", columns: ["unmeasured"] }, figures)).toBe("");
});

test("a table's columns are as wide as their widest cell", () => {
  expect(markdownTable(["a", "b", "c"], [["long", "x", "1"]])).toBe(
    "| a    | b   |   c |\n| ---- | --- | --: |\n| long | x   |   1 |",
  );
});

test("what a server needs and is not here is named by its Debian package", () => {
  const needs = { sh: "dash", "/nonexistent/module.so": "some-module", "no such command": "other" };
  expect(missingPackages({ needs })).toEqual(["some-module", "other"]);
});

/** Serves; its child ignores SIGTERM, and is nobody's child once the server has ended. */
const PROGRAM = `
  const child = Bun.spawn(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
  Bun.serve({ port: Number(process.env.PORT), fetch: () => new Response(String(child.pid)) });
`;

test("a server is ended with all that descends from it, also what ignores SIGTERM", async () => {
  const directory = temporaryDirectory();
  const port = await freePort();
  const argv = [process.execPath, "-e", PROGRAM];
  const command = { argv, cwd: directory, env: { PORT: String(port), PATH: "/usr/bin:/bin" } };
  const server = await StartedServer.start("a server", [command], port, join(directory, "log"));
  const child = Number(await (await fetch(server.url)).text());
  expect(isRunning(child)).toBe(true);
  expect(server.pssKiB()).toBeGreaterThan(1000);
  await server.stop(100);
  await untilGone(child);
});

test("a server that does not start is an error with what it wrote", async () => {
  const directory = temporaryDirectory();
  const command = { argv: ["/bin/sh", "-c", "echo out of luck; exit 3"], cwd: directory };
  const start = StartedServer.start("it", [command], await freePort(), join(directory, "log"));
  const said = await start.then(String, (error: unknown) => String(error));
  expect(said).toBe("Error: start it; it wrote:\nout of luck\n");
});
