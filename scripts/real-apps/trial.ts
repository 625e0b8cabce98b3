/**
 * One real application: made in a directory of its own, served by the compiled server, visited, and
 * ended with all that it has started.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { ENVIRONMENT } from "../bench/http-servers.ts";
import { freePort, StartedServer } from "../bench/started-server.ts";
import { installNpm, refuseIfInterrupted, run } from "./install.ts";
import { type RealApp, ROOT } from "./real-app.ts";
import { Visitor, within } from "./visitor.ts";

const SERVER = join(import.meta.dir, "..", "..", "dist", "ApplicationPoolServerExecutable");
/** For making it, and for all visits. */
const BUILD_LIMIT_MS = 120_000;
const DRIVE_LIMIT_MS = 120_000;
/** Lines of the server's log that say why it failed. */
const SHOWN_LINES = 40;

/** Makes it, serves it, visits it. @throws Error that says what went wrong, and the log's end. */
export async function tryApp(app: RealApp, directory: string, makeLock = false): Promise<void> {
  refuseIfInterrupted();
  const root = join(directory, "app");
  try {
    await make(app, root, makeLock);
    await serveAndDrive(app, directory, root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function make(app: RealApp, root: string, makeLock: boolean): Promise<void> {
  mkdirSync(root, { recursive: true });
  for (const [name, text] of Object.entries(app.files ?? {})) {
    const file = join(root, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text.replaceAll(ROOT, root));
  }
  await installNpm(app, root, makeLock);
  const { build } = app;
  if (build !== undefined) {
    await run(["/bin/sh", "-ec", build.replaceAll(ROOT, root)], root, BUILD_LIMIT_MS);
  }
  for (const name of app.writable ?? []) {
    if (!existsSync(join(root, name))) mkdirSync(join(root, name), { recursive: true });
    // Whom it runs as is the server's affair.
    await run(["chmod", "-R", "a+rwX", name], root, BUILD_LIMIT_MS);
  }
}

function configuration({ type, settings = [], variables = [] }: RealApp, port: number): string {
  const apps = ["[[apps]]", 'name = "app"', `type = "${type}"`, "show_errors = true", ...settings];
  if (!settings.some((line) => line.startsWith("root ="))) apps.push(`root = "${ROOT}"`);
  const top = [`listen = ["127.0.0.1:${port}"]`, "[log]", "level = 1"];
  return [...top, ...apps, "[apps.env]", ...variables, ""].join("\n");
}

async function serveAndDrive(app: RealApp, directory: string, root: string): Promise<void> {
  const port = await freePort();
  const file = join(directory, "pool.toml");
  const log = join(directory, "log");
  const runtime = join(directory, "run");
  mkdirSync(runtime, { recursive: true });
  chmodSync(runtime, 0o700);
  writeFileSync(log, "");
  writeFileSync(file, configuration(app, port).replaceAll(ROOT, root));
  const command = {
    argv: [SERVER, "serve", "--config", file],
    cwd: directory,
    env: { ...ENVIRONMENT, APPLICATION_POOL_RUNTIME_DIRECTORY: runtime },
  };
  refuseIfInterrupted();
  const server = await StartedServer.start(app.name, [command], port, log);
  let left: unknown[] = [];
  try {
    await within("its visits are over", DRIVE_LIMIT_MS, app.drive(new Visitor(server.url)));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${why}\n${lastLines(log)}`, { cause });
  } finally {
    left = await server.stop();
  }
  if (left.length > 0) throw new Error(`${left.length} processes outlive the server`);
}

function lastLines(log: string): string {
  return readFileSync(log, "utf8").trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
}
