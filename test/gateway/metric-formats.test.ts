/**
 * The figures as others read them: promtool (Debian's prometheus) the format of who asks without
 * naming one, Prometheus' Python library OpenMetrics. Both are strict.
 */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { metricsOf, readExposition } from "../helpers/exposition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const promtool = ["promtool", "check", "metrics"];
/** Debian's own Python, which has the library. */
const python = ["/usr/bin/python3", "-c"];
const parse = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name)
`;

async function fed(command: readonly string[], text: string): Promise<[number, string]> {
  await using child = Bun.spawn([...command], { stdio: [Buffer.from(text), "pipe", "pipe"] });
  const [out, errors, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return [status, out + errors];
}

test("promtool finds nothing to say, OpenMetrics is whole, and both have the same figures", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  const file = join(directory, "pool.toml");
  const lines = [
    'listen = ["127.0.0.1:0"]',
    "[admin]",
    'listen = "127.0.0.1:0"',
    "[[apps]]",
    `name = '"shop"\\a'`,
    'root = "app"',
  ];
  writeFileSync(file, lines.join("\n"));
  const gateway = startGateway(["--config", file]);
  await (await fetch(`${await gateway.address()}/`)).text();
  const admin = await until("it says so", () =>
    gateway.lines.flatMap((line) => /^admin address (.*)$/.exec(line)?.[1] ?? []).at(-1),
  );
  const counted = String.raw`requests_total{app="\"shop\"\\a",status="2xx"} 1${"\n"}`;
  // Figures of processes come one by one.
  const [open, text] = await until("both have the same", async () => {
    const [first, plain] = [await metricsOf(admin), await fetch(`${admin}/metrics`)];
    expect(plain.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const second = await plain.text();
    const isSame = samplesOf(first).join("\n") === samplesOf(second).join("\n");
    return isSame && first.includes(counted) && ([first, second] as const);
  });
  expect(await fed(promtool, text)).toEqual([0, ""]);

  const [status, parsed] = await fed([...python, parse], open);
  expect(status, parsed).toBe(0);
  const { values } = readExposition(open);
  expect(parsed.trimEnd().split("\n")).toHaveLength(values.size);
  expect(parsed).toContain("info application_pool_build_info\n");
  const headers = { Accept: "application/openmetrics-text" };
  const type = (await fetch(`${admin}/metrics`, { headers })).headers.get("content-type");
  expect(type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
  await gateway.end();
});

/** Their names and labels. */
function samplesOf(text: string): string[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => line.slice(0, line.lastIndexOf(" ")));
}
