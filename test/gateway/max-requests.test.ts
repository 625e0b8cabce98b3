/**
 * How many requests a process serves under `max_requests`, as the application counts them itself:
 * up to a tenth less or more, whoever asks.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const kinds = [
  {
    name: "wsgi",
    file: "passenger_wsgi.py",
    text: `import os
count = 0
def application(environ, start_response):
    global count
    count += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d" % (os.getpid(), count)]
`,
  },
  {
    name: "bun",
    file: "server.ts",
    text: `let count = 0;
export default { fetch: () => new Response(\`\${process.pid} \${++count}\`) };
`,
  },
];

/** Asks so often over so many connections, over each one by one. @returns counts by process. */
async function ask(address: string, connections: number, times: number): Promise<number[]> {
  const counts = new Map<number, number>();
  let left = times;
  const visit = async (): Promise<void> => {
    while (left-- > 0) {
      const answer = await fetch(address);
      const text = await answer.text();
      expect(answer.status, text).toBe(200);
      const [pid = 0, count = 0] = text.split(" ").map(Number);
      counts.set(pid, Math.max(count, counts.get(pid) ?? 0));
    }
  };
  await Promise.all(Array.from({ length: connections }, visit));
  return [...counts.values()];
}

test.each(kinds)("$name: 100, give or take ten", async ({ name, file, text }) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), text);
  const lines = [
    'listen = ["127.0.0.1:0"]',
    "workers = 2",
    "[[apps]]",
    'root = "app"',
    `type = "${name}"`,
    "max_instances = 2",
    "max_requests = 100",
  ];
  writeFileSync(join(directory, "pool.toml"), lines.join("\n"));
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  const address = await gateway.address();
  for (const connections of [1, 16]) {
    const counts = await ask(address, connections, 500);
    expect(Math.max(...counts)).toBeLessThanOrEqual(110);
    // The last ones have not had theirs yet.
    expect(counts.length).toBeGreaterThanOrEqual(5);
    expect(counts.length).toBeLessThanOrEqual(8);
  }
  await gateway.end();
});
