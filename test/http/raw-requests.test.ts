/**
 * All of the raw requests against `serve`, with an application in each language. RAW_CASE=pattern
 * runs some of them.
 */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { readCases, type RawCase, type Reached } from "./raw/case.ts";
import { echoes, type Echo } from "./raw/echo.ts";
import { run } from "./raw/exchange.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** The application dies of it: alone, and after all others. */
const deadly = readCases().find(({ name }) => name === "a-cut-stream");
const pattern = new RegExp(process.env["RAW_CASE"] ?? "");
const cases = readCases().filter(({ name }) => pattern.test(name));
/** Cases under way at once; each waits most of its time. */
const atOnce = 48;

/** What an application has noted, by the address of the client. */
class Notes {
  readonly #path: string;
  readonly #byAddress = new Map<string, Reached[]>();
  #lines = 0;

  constructor(path: string) {
    this.#path = path;
    writeFileSync(path, "");
    // As root, the application runs as somebody else.
    chmodSync(path, 0o666);
  }

  of(address: string): readonly Reached[] {
    const lines = readFileSync(this.#path, "utf8").split("\n").slice(0, -1);
    for (const line of lines.slice(this.#lines)) {
      const noted = JSON.parse(line) as Reached;
      const chain = noted.h["x-forwarded-for"] ?? noted.h["HTTP_X_FORWARDED_FOR"] ?? "";
      const from = chain.split(",").at(-1)?.trim() ?? "";
      this.#byAddress.set(from, [...(this.#byAddress.get(from) ?? []), noted]);
    }
    this.#lines = lines.length;
    return this.#byAddress.get(address) ?? [];
  }
}

/** An address of its own for each case, so that they can run side by side. */
function addressOf(index: number): string {
  return `127.1.${(index + 1) >> 8}.${(index + 1) & 255}`;
}

async function serve({ type, file, text }: Echo): Promise<{ gateway: Gateway; notes: Notes }> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), text);
  const reached = join(directory, "reached");
  const notes = new Notes(reached);
  const apps = `[[apps]]\nroot = "app"\ntype = "${type}"\n[apps.env]\nREACHED = "${reached}"\n`;
  writeFileSync(join(directory, "pool.toml"), `listen = ["127.0.0.1:0"]\n${apps}`);
  return { gateway: startGateway(["--config", join(directory, "pool.toml")]), notes };
}

async function runAll(gateway: Gateway, notes: Notes): Promise<string[]> {
  const port = Number(new URL(await gateway.address()).port);
  const wrong: string[] = [];
  const runCase = async (rawCase: RawCase, index: number): Promise<void> => {
    const address = addressOf(index);
    const faults = await run(rawCase, port, address, () => notes.of(address));
    if (faults.length === 0 || rawCase.level === "info") return;
    wrong.push(`${rawCase.level} ${rawCase.name}: ${faults.join("; ")}`);
  };
  const waiting = [...cases.entries()].filter(([, { name }]) => name !== deadly?.name);
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await runCase(next[1], next[0]);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return wrong.toSorted();
}

for (const echo of echoes) {
  test(`${echo.type}: every raw request is answered, or refused, as it must be`, async () => {
    const { gateway, notes } = await serve(echo);
    expect(await runAll(gateway, notes)).toEqual([]);
    await gateway.end();
  }, 300_000);
}
