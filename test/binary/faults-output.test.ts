/** What applications write: a burst passes whole, and a flood costs others nothing. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { builtin, faultTests, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverTests } from "../helpers/pool-server.ts";

countDescriptors();
const faultTest = faultTests();
const binaryTest = serverTests("binary");
const bun = { appType: "bun" };

/** Writes so many numbered lines at each request. */
const bursts = (lines: number): string => `
  const { writeSync } = require("fs");
  let request = 0;
  export default { fetch() {
    request += 1;
    const line = (_, n) => \`burst \${request} \${n} \${"x".repeat(50)}\\n\`;
    const text = Array.from({ length: ${lines} }, line);
    const bytes = Buffer.from(text.join(""));
    for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
    return new Response("written");
  } };`;

/** The burst's lines that the log has. */
function numbers(log: string, burst: number): number[] {
  return [...log.matchAll(new RegExp(`burst ${burst} (\\d+) x{50}$`, "gm"))].map(([, n]) =>
    Number(n),
  );
}

binaryTest(
  "bursts of a megabyte pass whole and in order, also to a log that is a pipe",
  {
    ...builtin,
    binary: {
      builtin: true,
      logFile: "",
      wrapper: ["/bin/bash", "-c", `exec "$0" "$@" 2> >(exec cat >> piped.log)`],
    },
  },
  async (server) => {
    const client = await server.connect();
    const lines = 15_000;
    const root = writeFiles(server, "bursts", { "server.ts": bursts(lines) });
    const log = join(server.files.directory, "piped.log");
    const wanted = Array.from({ length: lines }, (_, n) => n);
    for (const burst of [1, 2, 3]) {
      await request(client, root, bun);
      await until("all of it is there", () => {
        return numbers(readFileSync(log, "latin1"), burst).length === lines;
      });
      expect(numbers(readFileSync(log, "latin1"), burst)).toEqual(wanted);
    }
  },
);

faultTest(
  "a flood of empty lines is cut, and said; who writes beside it loses nothing",
  async (server) => {
    const client = await server.connect();
    // What keeps the server from reading more than may pass has nothing cut.
    const yes = `["nice", "-n", "19", "yes", ""], { stdio: ["ignore", "inherit", "inherit"] }`;
    const flood = `Bun.spawn(${yes}); export default { fetch: () => new Response("floods") };`;
    await request(client, writeFiles(server, "floods", { "server.ts": flood }), bun);
    const lines = 5_000;
    const root = writeFiles(server, "bursts", { "server.ts": bursts(lines) });
    for (const burst of [1, 2]) {
      await request(client, root, bun);
      await until("all of it is there", () => numbers(server.output(), burst).length === lines);
    }
    await until("it is said", () =>
      /floods \d+\] \(\d{6,} bytes of output were dropped/.test(server.output()),
    );
  },
);
