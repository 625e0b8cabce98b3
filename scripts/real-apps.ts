/**
 * Real applications behind `serve`: each is installed (Debian's packages by apt-get, as root; those
 * of npm from lock files), made as its users make it, started by configuration alone, visited, and
 * ended. Whatever it writes lies in a temporary directory.
 *
 *     bun scripts/real-apps.ts [NAME...] [--list] [--write FILE] [--lock]
 *
 * Names are those that `--list` shows, in any case; without one, all are tried, one by one.
 * `--write` puts the table into a document, between the lines `<!-- real-apps -->` and
 * `<!-- end -->`; rows of those that were not tried stay. `--lock` makes the lock files of what is
 * named anew. The server is the one in dist. Exit status 0 only if all work.
 */
import { readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { insertTables } from "./bench/document.ts";
import { markdownTable } from "./bench/http-table.ts";
import { StartedServer } from "./bench/started-server.ts";
import { realApps } from "./real-apps/all.ts";
import { endRuns, installDebian, versionOf } from "./real-apps/install.ts";
import type { RealApp } from "./real-apps/real-app.ts";
import { tryApp } from "./real-apps/trial.ts";
import { showUsage } from "./usage.ts";
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
  const works = set.length === 0 ? [""] : set.map((line) => `\`${line}\``);
  const lines = failure === undefined ? works : ["it fails"];
  return lines.map((line, at) =>
    at === 0 ? [app.name, version, app.type, line] : ["", "", "", line],
  );
}

/** The rows that a document's table has for each application. */
function writtenRows(file: string): Map<string, string[][]> {
  const rows = new Map<string, string[][]>();
  const [, text = ""] = readFileSync(file, "utf8").split("<!-- real-apps -->");
  const [table = ""] = text.split("<!-- end -->");
  let name = "";
  for (const line of table.split("\n").filter((each) => each.startsWith("|"))) {
    const row = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    name = row[0] || name;
    rows.set(name, [...(rows.get(name) ?? []), row]);
  }
  return rows;
}

/** All rows that there are, in the order of the applications. */
function tableOf(document: string | undefined, outcomes: readonly Outcome[]): string {
  const rows = document === undefined ? new Map<string, string[][]>() : writtenRows(document);
  for (const outcome of outcomes) rows.set(outcome.app.name, rowsOf(outcome));
  const head = ["Application", "Version", "Type", "What had to be set"];
  return markdownTable(
    head,
    realApps.flatMap(({ name }) => rows.get(name) ?? []),
    head.length,
  );
}

async function main(args: string[]): Promise<void> {
  showUsage(args, import.meta.path);
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
  const directory = workDirectory("real-apps-", async () => {
    await Promise.all([endRuns(), StartedServer.stopAll()]);
  });
  const document = values.write === undefined ? undefined : resolve(values.write);
  const outcomes: Outcome[] = [];
  try {
    for (const app of apps) {
      outcomes.push(await outcomeOf(app, directory, values.lock));
      if (document !== undefined) insertTables(document, "real-apps", tableOf(document, outcomes));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  if (document === undefined) console.log(`\n${tableOf(undefined, outcomes)}`);
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
