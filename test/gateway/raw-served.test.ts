/**
 * The table of raw requests once more, against the compiled binary and a real application, all of
 * it at once: what the application notes is what the table says, and nothing else.
 */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { bodySections } from "./raw-body-cases.ts";
import { exchange } from "./raw-exchange.ts";
import { headSections } from "./raw-head-cases.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const cases = [...bodySections, ...headSections].flatMap((section) => section.cases);

/** Notes what it gets, one JSON text in a line, when all of it is there. */
const application = `import { appendFileSync } from "node:fs";
export default {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const body = await request.text();
    const noted = request.method + " " + pathname + search + " " + body;
    appendFileSync("noted", JSON.stringify(noted) + "\\n");
    return new Response("reached");
  },
};
`;

test("the compiled binary keeps to the table", async () => {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(root);
  chmodSync(root, 0o777); // It may run as another user than we do.
  writeFileSync(join(root, "server.ts"), application);
  const file = join(directory, "pool.toml");
  const limits = '[limits]\nidle_time = "1s"\nmax_body_size = "64k"\n';
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n${limits}[[apps]]\nroot = "app"\n`);
  const gateway = startGateway(["--config", file]);
  const port = Number(new URL(await gateway.address()).port);

  const outcomes = await Promise.all(
    cases.map(async ({ title, sent, answers }) => {
      const steps = typeof sent === "string" ? [sent] : sent;
      const { answered } = await exchange(port, steps, undefined, 25_000);
      const statuses = [...answered.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => match[1]);
      return { title, got: statuses.join(), expected: answers.join() };
    }),
  );
  expect(outcomes.filter(({ got, expected }) => got !== expected)).toEqual([]);

  const noted = readFileSync(join(root, "noted"), "utf8").trimEnd().split("\n");
  const counts = countOf(noted.map((line) => JSON.parse(line) as string));
  const expected = countOf(cases.flatMap(({ reached = [] }) => reached));
  const answered = countOf(
    cases.flatMap(({ reached = [], answers }) => (answers.includes(200) ? reached : [])),
  );
  // What visitors are not told of may have been cut short on its way.
  for (const [text, times] of counts) {
    const most = expected.get(text) ?? 0;
    expect({ text, times: Math.min(times, most) }).toEqual({ text, times });
  }
  for (const [text, times] of answered) expect(counts.get(text)).toBeGreaterThanOrEqual(times);
  await gateway.end();
});

function countOf(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}
