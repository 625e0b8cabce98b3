/** `status --watch` on a real terminal, and into a pipe. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { binaryPath } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gatewayEnvironment, gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const names = Array.from({ length: 9 }, (_, at) => `${at}-a-shop-whose-name-is-long-as-names-go`);

/** A screen comes once a second, and later on a busy machine. */
const patienceMs = 20_000;

/** Many applications with long names, one of which is paused. */
async function serving(): Promise<Gateway> {
  const directory = temporaryDirectory();
  const apps = names.map((name) => {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "server.ts"), "export default {};\n");
    return `[[apps]]\nroot = "${name}"\nhosts = ["${name}.example"]\n`;
  });
  const file = join(directory, "pool.toml");
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n${apps.join("")}`);
  const gateway = startGateway(["--config", file]);
  await gateway.address();
  const pause = [binaryPath, "pause", String(names[1])];
  await until("it is paused", async () => {
    await using child = Bun.spawn(pause, {
      env: gatewayEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    return (await child.exited) === 0;
  });
  return gateway;
}

/** @returns the first screens of a terminal, and the exit status. */
async function watched(rows: number): Promise<{ screens: string[]; code: number }> {
  let text = "";
  const decoder = new TextDecoder();
  const child = Bun.spawn([binaryPath, "status", "--watch"], {
    env: { ...gatewayEnvironment(), TERM: "xterm" },
    terminal: {
      cols: 80,
      rows,
      data: (_, bytes) => {
        text += decoder.decode(bytes, { stream: true });
      },
    },
  });
  const screens = () => text.split("\u001B[H\u001B[J").slice(1, -1);
  await until(
    "two screens were shown",
    () => screens().length >= 2,
    () => text,
    patienceMs,
  );
  child.kill("SIGINT");
  const code = await child.exited;
  return { screens: screens(), code };
}

test("on a terminal of 80 columns it is shown in place, and fits", async () => {
  const gateway = await serving();
  const { screens, code } = await watched(40);
  expect(code).toBe(0);
  for (const screen of screens) {
    const lines = screen.replaceAll("\r", "").split("\n");
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(screen).not.toContain("\u001B");
    expect(lines).toContain("  paused: requests wait");
    expect(lines.filter((line) => /^[0-9]-a-shop/.test(line))).toHaveLength(names.length);
  }
  const low = await watched(8);
  for (const screen of low.screens) {
    const lines = screen.trimEnd().split("\r\n");
    expect(lines).toHaveLength(7);
    expect(lines.at(-1)).toMatch(/^… [0-9]+ lines more$/);
  }
  await gateway.end();
}, 60_000);

test("into a pipe it is a plain table each time, until nobody reads", async () => {
  const gateway = await serving();
  const child = Bun.spawn([binaryPath, "status", "--watch"], {
    env: gatewayEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const reader = child.stdout.getReader();
  while (text.split("Gateway ").length < 4) {
    text += Buffer.from((await reader.read()).value ?? []).toString();
  }
  await reader.cancel();
  expect(text).not.toContain("\u001B");
  expect(text).toContain("\n\nGateway ");
  expect([await child.exited, await child.stderr.text()]).toEqual([0, ""]);
  await gateway.end();
});
