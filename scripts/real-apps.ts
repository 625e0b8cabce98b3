/**
 * Real applications behind `serve`: each is installed (Debian's packages by apt-get, as root; those
 * of npm from lock files), made as its users make it, started by configuration alone, visited, and
 * ended. Whatever it writes lies in a temporary directory.
 *
 *     bun scripts/real-apps.ts [NAME...] [--list] [--write FILE] [--lock]
 *
 * Names are those that `--list` shows, in any case; without one, all are tried, one by one.
 * `--write` puts the table into a document, between the lines `<!-- real-apps -->` and
 * `<!-- end -->`. `--lock` makes the lock files of what is named anew. The server is the one in
 * dist. Exit status 0 only if all work.
 */
import { rmSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { insertTables } from "./bench/document.ts";
import { markdownTable } from "./bench/http-table.ts";
import { StartedServer } from "./bench/started-server.ts";
import { realApps } from "./real-apps/all.ts";
import { installDebian, versionOf } from "./real-apps/install.ts";
import type { RealApp } from "./real-apps/real-app.ts";
import { tryApp } from "./real-apps/trial.ts";
import { workDirectory } from "./work-directory.ts";

interface Outcome {
  readonly app: RealApp;
  readonly version: string;
  /** Why it does not work; undefined: it does. */
  readonly failure: string | undefined;
}

function chosen(names: readonly string[]): readonly RealApp[] {
  if (names.length === 0) return realApps;
  return names.map((name) => {
    const app = realApps.find((each) => each.name.toLowerCase() === name.toLowerCase());
    if (app === undefined) throw new Error(`${name}: is none of those that --list shows`);
    return app;
  });
}

async function outcomeOf(app: RealApp, directory: string, makeLock: boolean): Promise<Outcome> {
  const start = performance.now();
  let failure: string | undefined;
  try {
    await installDebian(app);
    await tryApp(app, directory, makeLock);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const version = await versionOf(app);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${failure === undefined ? "passed" : "FAILED"}  ${app.name} ${version}, ${seconds} s`,
  );
  if (failure !== undefined) console.log(failure.replaceAll(/^/gm, "    "));
  return { app, version, failure };
}

/** Rows of the table: a line for each setting. */
function rowsOf({ app, version, failure }: Outcome): string[][] {
  const set = [...(app.settings ?? []), ...(app.variables ?? []).map((line) => `env.${line}`)];
  const lines = set.length === 0 ? [""] : set.map((line) => `\`${line}\``);
  const tried = failure === undefined ? app.tried : "fails";
  return lines.map((line, at) =>
    at === 0 ? [app.name, version, app.type, tried, line] : ["", "", "", "", line],
  );
}

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      list: { type: "boolean", default: false },
      lock: { type: "boolean", default: false },
      write: { type: "string" },
    },
  });
  const apps = chosen(positionals);
  if (values.list) {
    for (const { name, type, tried } of apps) console.log(`${name}  (${type}): ${tried}`);
    return;
  }
  if (values.write !== undefined && apps !== realApps)
    throw new Error("--write is for all of them");
  const directory = workDirectory("real-apps-", () => StartedServer.stopAll());
  const outcomes: Outcome[] = [];
  try {
    for (const app of apps) outcomes.push(await outcomeOf(app, directory, values.lock));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const head = ["Application", "Version", "Type", "Tried", "What had to be set"];
  const table = markdownTable(head, outcomes.flatMap(rowsOf), head.length);
  if (values.write === undefined) console.log(`\n${table}`);
  else insertTables(resolve(values.write), "real-apps", table);
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  console.log(`${outcomes.length - failed.length} work, ${failed.length} fail`);
  if (failed.length > 0) process.exitCode = 1;
}

try {
  await main(Bun.argv.slice(2));
} catch (error) {
  console.error(`real-apps: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
