/**
 * The table of raw requests once more, against the compiled binary and an application in every
 * language, all of it at once: what the applications note is what the table says, and nothing else.
 */
import { expect, test } from "bun:test";
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { bodySections } from "./raw-body-cases.ts";
import { exchange } from "./raw-exchange.ts";
import { headSections } from "./raw-head-cases.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const cases = [...bodySections, ...headSections]
  .flatMap((section) => section.cases)
  .filter(({ slow, varies }) => slow !== true && varies !== true);

/** For Node. */
const server = `const fs = require("node:fs");
require("node:http").createServer((request, response) => {
  let body = "";
  request.on("data", (bytes) => (body += bytes));
  request.on("error", () => {});
  request.on("end", () => {
    const noted = request.method + " " + request.url + " " + body;
    fs.appendFileSync("noted", JSON.stringify(noted) + "\\n");
    response.end("reached");
  });
}).listen(process.argv[2] ?? 3000);
`;

/** Each notes a request, one JSON text in a line, when all of its body is there. */
const applications: Readonly<Record<string, string>> = {
  "server.ts": `import { appendFileSync } from "node:fs";
export default {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const noted = request.method + " " + pathname + search + " " + await request.text();
    appendFileSync("noted", JSON.stringify(noted) + "\\n");
    return new Response("reached");
  },
};
`,
  "app.js": server,
  // By HTTP on a socket of its own, as any program.
  "program.js": server,
  "config.ru": `require "json"
run lambda { |env|
  body = env["rack.input"] ? env["rack.input"].read : ""
  noted = "#{env["REQUEST_METHOD"]} #{env["REQUEST_URI"]} #{body}"
  File.write("noted", noted.to_json + "\\n", mode: "a")
  [200, {}, ["reached"]]
}
`,
  "wsgi.py": `import json
def application(environ, start_response):
    body = environ["wsgi.input"].read().decode()
    noted = environ["REQUEST_METHOD"] + " " + environ["REQUEST_URI"] + " " + body
    with open("noted", "a") as file:
        file.write(json.dumps(noted) + "\\n")
    start_response("200 OK", [])
    return [b"reached"]
`,
};

test("the compiled binary keeps to the table, whatever the application is written in", async () => {
  const directory = temporaryDirectory();
  const outcomes = await Promise.all(
    Object.entries(applications).map(async ([startup, program]) => {
      const root = join(directory, startup.replace(".", "-"));
      mkdirSync(root);
      if (process.getuid?.() === 0) chownSync(root, findUser("nobody")?.uid ?? 0, 0);
      writeFileSync(join(root, startup), program);
      return { startup, ...(await runTable(root)) };
    }),
  );
  for (const { startup, wrong, noted } of outcomes) {
    expect({ startup, wrong }).toEqual({ startup, wrong: [] });
    expect({ startup, problems: problemsOf(noted) }).toEqual({ startup, problems: [] });
  }
});

interface Table {
  /** Answers that are not those of the table. */
  readonly wrong: readonly { title: string; got: string; expected: string }[];
  /** What the application has noted. */
  readonly noted: readonly string[];
}

async function runTable(root: string): Promise<Table> {
  const file = `${root}.toml`;
  // Of visitors who say nothing more, and longer than those here are held up by a busy machine.
  const limits = '[limits]\nidle_time = "5s"\nmax_body_size = "64k"\n';
  const isCommand = root.endsWith("program-js");
  const command = isCommand ? `command = "node program.js {socket}"\n` : "";
  const apps = `[[apps]]\nroot = ${JSON.stringify(root)}\n${command}`;
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n${limits}${apps}`);
  const gateway = startGateway(["--config", file]);
  const port = Number(new URL(await gateway.address()).port);
  const answers = await Promise.all(
    cases.map(async ({ title, sent, answers: expected }) => {
      const steps = typeof sent === "string" ? [sent] : sent;
      const { answered } = await exchange(port, steps, undefined, 25_000);
      // Who has ended his side is asked whether he is there, if a start takes long.
      const heads = [...answered.matchAll(/HTTP\/1\.1 (\d{3}) /g)];
      const statuses = heads.map((match) => match[1]).filter((status) => status !== "102");
      return { title, got: statuses.join(), expected: expected.join() };
    }),
  );
  const noted = readFileSync(join(root, "noted"), "utf8").trimEnd().split("\n");
  await gateway.end();
  return {
    wrong: answers.filter(({ got, expected }) => got !== expected),
    noted: noted.map((line) => JSON.parse(line) as string),
  };
}

/** What has reached the application more often than it may, or less often than it must. */
function problemsOf(noted: readonly string[]): string[] {
  const counts = countOf(noted);
  const most = countOf(cases.flatMap(({ reached = [] }) => reached));
  // What visitors are not told of may have been cut short on its way.
  const least = countOf(
    cases.flatMap(({ reached = [], answers }) => (answers.includes(200) ? reached : [])),
  );
  return [...new Set([...counts.keys(), ...least.keys()])].flatMap((text) => {
    const times = counts.get(text) ?? 0;
    const [from, to] = [least.get(text) ?? 0, most.get(text) ?? 0];
    return times < from || times > to ? [`${text}: ${times} times, not ${from} to ${to}`] : [];
  });
}

function countOf(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}
