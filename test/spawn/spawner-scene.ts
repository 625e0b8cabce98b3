/** A built-in spawner for the tests of one file, or of one `describe`. */
import { afterAll, afterEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  BuiltinSpawner,
  type BuiltinSpawnerOptions,
} from "../../src/spawn/builtin/builtin-spawner.ts";
import { until } from "../helpers/condition.ts";
import { notebook } from "./support.ts";

export interface SpawnerScene {
  /** A directory of its own, for applications too. */
  readonly directory: string;
  readonly spawner: BuiltinSpawner;
  /** What instances have written; tests may empty it. */
  readonly lines: string[];
  /** Waits until an instance has written a line with this text. */
  readonly isTold: (text: string) => Promise<unknown>;
}

/** With all of its instances it is closed when the tests are over. */
export function spawnerScene(): SpawnerScene {
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
  const isTold = (text: string): Promise<unknown> =>
    until(
      `'${text}' is told`,
      () => lines.some((line) => line.includes(text)),
      () => lines,
    );
  return { directory, spawner, lines, isTold };
}

/** A spawner of one test. */
export interface FreshSpawner {
  readonly spawner: BuiltinSpawner;
  /** Where its private directory lies; for applications too. */
  readonly base: string;
  /** What its instances have written. */
  readonly lines: string[];
}

/**
 * To be called once at the top of a test file. @returns what makes a spawner, which is closed with
 * all of its instances when its test is over. @param isHasty whether the closing waits for none.
 */
export function freshSpawners(
  temporaryDirectory: () => string,
  isHasty = false,
): (changed?: Partial<BuiltinSpawnerOptions>) => FreshSpawner {
  const opened: BuiltinSpawner[] = [];
  afterEach(async () => {
    const hurry = isHasty ? AbortSignal.abort() : new AbortController().signal;
    await Promise.all(opened.splice(0).map((spawner) => spawner.close(hurry)));
  });
  return (changed) => {
    const base = temporaryDirectory();
    const lines: string[] = [];
    const spawner = new BuiltinSpawner({
      notify: notebook().notify,
      writeOutput: (_pid, _root, line) => lines.push(line),
      baseDirectory: base,
      ...changed,
    });
    opened.push(spawner);
    return { spawner, base, lines };
  };
}
