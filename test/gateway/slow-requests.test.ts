/** Requests that take longer than `slow_request`: said while they are under way, with the stack. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { type Gateway, gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const programs = {
  "config.ru": `
    def wait_for_it(path)
      sleep 0.02 until File.exist?("go")
    end
    run ->(env) {
      wait_for_it(env["PATH_INFO"]) if env["PATH_INFO"].start_with?("/slow")
      [200, {}, ["done"]]
    }`,
  "passenger_wsgi.py": `
import os, time
def wait_for_it(path):
    while not os.path.exists("go"):
        time.sleep(0.02)
def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/slow"):
        wait_for_it(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [b"done"]
`,
  "server.ts": `import { existsSync } from "node:fs";
export default { async fetch(request: Request) {
  const isSlow = new URL(request.url).pathname.startsWith("/slow");
  while (isSlow && !existsSync("go")) await Bun.sleep(20);
  return new Response("done");
} };`,
};

function serving(
  file: keyof typeof programs,
  settings: string,
): { root: string; gateway: Gateway } {
  const directory = temporaryDirectory();
  const root = join(directory, "shop");
  mkdirSync(root);
  writeFileSync(join(root, file), programs[file]);
  const config = join(directory, "pool.toml");
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\nlog = { access = "off" }\n[[apps]]\nroot = "shop"\n${settings}\n`,
  );
  return { root, gateway: startGateway(["--config", config]) };
}

async function ask(gateway: Gateway, path: string): Promise<string> {
  return (await fetch(`${await gateway.address()}${path}`)).text();
}

const slowLines = (gateway: Gateway): string[] =>
  gateway.log.split("\n").filter((line) => line.includes(" slow request "));

for (const [file, stack] of [
  ["config.ru", /shop \d+\].*config\.ru:3.*wait_for_it/],
  ["passenger_wsgi.py", /shop \d+\].*wait_for_it/],
  ["server.ts", undefined],
] as const) {
  test(`${file}: one line while it takes long${stack ? ", and what it is at" : ""}`, async () => {
    const { root, gateway } = serving(file, 'slow_request = "200ms"');
    expect(await ask(gateway, "/quick")).toBe("done");
    const slow = ask(gateway, "/slow/a%0Ab?secret=1");
    await until("it is said", () => slowLines(gateway).length === 1);
    if (stack !== undefined) {
      await until(
        "it shows its stack",
        () => stack.test(gateway.log),
        () => gateway.log,
      );
    }
    writeFileSync(join(root, "go"), "");
    expect(await slow).toBe("done");
    const [line = ""] = slowLines(gateway);
    expect(line).toMatch(
      / warning slow request app=shop id=[\w-]{36} request="GET \/slow\/a%0Ab" pid=\d+ ms=\d+ q/,
    );
    expect(Number(/ ms=(\d+)/.exec(line)?.[1])).toBeGreaterThanOrEqual(200);
    expect(await ask(gateway, "/slow")).toBe("done"); // It is quick now.
    expect(slowLines(gateway)).toHaveLength(1);
    await gateway.end();
  });
}

test("many slow requests are a line each, and one look at the stacks", async () => {
  const { root, gateway } = serving("config.ru", 'slow_request = "100ms"\nthreads = 5');
  const slow = [1, 2, 3, 4, 5].map((n) => ask(gateway, `/slow/${n}`));
  await until("all are said", () => slowLines(gateway).length === 5);
  await until("it shows its stacks", () => gateway.log.includes("wait_for_it"));
  writeFileSync(join(root, "go"), "");
  expect(await Promise.all(slow)).toEqual(Array.from({ length: 5 }, () => "done"));
  const shown = Array.from(gateway.log.matchAll(/serving \S+ "\/slow\/(\d)"/g), ([, n]) => n);
  expect(shown.length).toBeGreaterThan(0);
  expect(new Set(shown).size).toBe(shown.length);
  await gateway.end();
});
