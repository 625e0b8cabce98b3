/** What the tests of the rack loader share: a spawner, applications, requests. */
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { Instance, SpawnRequest } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { exchange, get, notebook, parseAnswer, spawnRequest, writeApp } from "./support.ts";

type Files = Readonly<Record<string, string>>;

/** A spawner with a directory of its own, which is closed when the file's tests are over. */
export function rackScene() {
  const directory = mkdtempSync(join(tmpdir(), "pool-"));
  const lines: string[] = [];
  const spawner = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: (_pid, _root, line) => lines.push(line),
    baseDirectory: directory,
  });
  afterAll(async () => {
    await spawner.close(new AbortController().signal);
    rmSync(directory, { recursive: true });
  });
  /** An application of its own, freshly loaded unless `more` says otherwise. */
  const start = (name: string, files: Files, more: Partial<SpawnRequest> = {}) => {
    const root = writeApp(directory, name, files);
    return spawner.spawn(spawnRequest(root, { spawnMethod: "conservative", ...more }));
  };
  /** Waits until an instance has written a line with this text. */
  const isTold = (text: string) =>
    until(
      `'${text}' is told`,
      () => lines.some((line) => line.includes(text)),
      () => lines,
    );
  return { directory, lines, spawner, start, isTold };
}

/** A GET of this path and query. */
export function to(target: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  return get({ REQUEST_URI: target, ...more });
}

/** The answer to bytes after which our side is ended. */
export async function ask(instance: Instance, bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

/** A head of these bytes, whether they are one or not. */
export function framed(payload: string): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(payload.length);
  return Buffer.concat([size, Buffer.from(payload, "latin1")]);
}
