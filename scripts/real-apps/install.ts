/**
 * Installs what a real application is made of: Debian's packages on the machine, as root; those of
 * npm below the application's directory, from a lock file in locks/, or out of the checkout where
 * that has all of them in the same versions.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ENVIRONMENT } from "../bench/http-servers.ts";
import type { RealApp } from "./real-app.ts";

const LOCKS = join(import.meta.dir, "locks");
const OURS = join(import.meta.dir, "../../node_modules");
const INSTALL_LIMIT_MS = 300_000;
/** Between SIGTERM and SIGKILL. */
const END_LIMIT_MS = 5_000;

/** What runs now. */
const running = new Set<Bun.Subprocess>();
let isInterrupted = false;

/** @throws Error once all is being ended: nothing may be started any more. */
export function refuseIfInterrupted(): void {
  if (isInterrupted) throw new Error("it is interrupted");
}

/** Ends what runs now, for a program that is being ended itself. */
export async function endRuns(): Promise<void> {
  isInterrupted = true;
  await Promise.all([...running].map(endGroup));
}

/** Ends what `run` has started, and what that has. */
async function endGroup({ pid, exited }: Bun.Subprocess): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    try {
      process.kill(-pid, signal);
    } catch {
      // None of them is left.
    }
    if (signal === "SIGTERM") await Promise.race([exited, Bun.sleep(END_LIMIT_MS)]);
  }
  await exited;
}

/** Runs a program. @returns its standard output. @throws Error with its last words. */
export async function run(argv: readonly string[], cwd: string, limitMs: number): Promise<string> {
  refuseIfInterrupted();
  await using child = Bun.spawn(["nice", "-n10", ...argv], {
    cwd,
    env: { ...ENVIRONMENT, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  running.add(child);
  const timer = setTimeout(() => void endGroup(child), limitMs);
  const [out, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const status = await child.exited;
  clearTimeout(timer);
  running.delete(child);
  if (status === 0) return out;
  const words = `${out}\n${errors}`.trim().split("\n").slice(-12).join("\n");
  throw new Error(`run ${argv.join(" ").slice(0, 200)}: exit status ${status}\n${words}`);
}

async function installedVersion(name: string): Promise<string | undefined> {
  try {
    const format = "${db:Status-Status} ${Version}";
    const said = await run(["dpkg-query", "-W", "-f", format, name], "/", INSTALL_LIMIT_MS);
    return /^installed (\S+)/.exec(said)?.[1];
  } catch {
    return undefined;
  }
}

/** Debian's packages of it that are not there. */
async function missingDebian({ debian = [] }: RealApp): Promise<string[]> {
  const missing = [];
  for (const name of debian) {
    if ((await installedVersion(name)) === undefined) missing.push(name);
  }
  return missing;
}

/** Installs Debian's packages of it. @throws Error that names them where that cannot be. */
export async function installDebian(app: RealApp): Promise<void> {
  const missing = await missingDebian(app);
  if (missing.length === 0) return;
  const install = ["apt-get", "-o", "DPkg::Lock::Timeout=200", "install", "-qy"];
  await run([...install, "--no-install-recommends", ...missing], "/", INSTALL_LIMIT_MS);
}

/** A package of the checkout and all that it needs. Types are of no use to programs that run. */
export function withDependencies(name: string, known = new Set<string>()): Set<string> {
  if (known.has(name) || name.startsWith("@types/") || !existsSync(join(OURS, name))) return known;
  known.add(name);
  const { dependencies = {} } = packageOf(join(OURS, name));
  for (const dependency of Object.keys(dependencies)) withDependencies(dependency, known);
  return known;
}

/** Copies packages of the checkout: an application may run as a user who may not see that. */
export function copyPackages(names: readonly string[], root: string): void {
  for (const name of new Set(names.flatMap((each) => [...withDependencies(each)]))) {
    cpSync(join(OURS, name), join(root, "node_modules", name), { recursive: true });
  }
}

interface Package {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function packageOf(directory: string): Package {
  const file = join(directory, "package.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Package) : {};
}

/** Whether the checkout has these very packages. */
function isOurs(packages: Readonly<Record<string, string>>): boolean {
  return Object.entries(packages).every(([name, version]) => {
    return packageOf(join(OURS, name)).version === version;
  });
}

/** The name of its lock file. */
function lockOf({ name }: RealApp): string {
  return join(LOCKS, `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}.lock`);
}

/**
 * Installs its packages of npm below the root.
 * @param makeLock makes the lock file anew, in place of holding to it.
 */
export async function installNpm(app: RealApp, root: string, makeLock: boolean): Promise<void> {
  const { npm, overrides, files = {} } = app;
  if (npm === undefined) return;
  const own = JSON.parse(files["package.json"] ?? "{}") as object;
  const described = { private: true, ...own, dependencies: npm, ...(overrides && { overrides }) };
  writeFileSync(join(root, "package.json"), `${JSON.stringify(described, null, 2)}\n`);
  if (isOurs(npm)) return copyPackages(Object.keys(npm), root);
  const lock = join(root, "bun.lock");
  if (!makeLock) cpSync(lockOf(app), lock);
  const frozen = makeLock ? [] : ["--frozen-lockfile"];
  const cache = `--cache-dir=${join(root, "../cache")}`;
  const install = ["install", "--ignore-scripts", "--backend=copyfile", cache, ...frozen];
  await run([process.execPath, ...install], root, INSTALL_LIMIT_MS);
  if (makeLock) {
    mkdirSync(LOCKS, { recursive: true });
    cpSync(lock, lockOf(app));
  }
}

/** Its version, as its makers have it. */
export async function versionOf({ debian = [], npm = {} }: RealApp): Promise<string> {
  const [first] = debian;
  if (first === undefined) return Object.values(npm)[0] ?? "";
  const version = (await installedVersion(first)) ?? "";
  // An epoch before it, and Debian's own after it (deb-version(7)).
  return version
    .replace(/^\d+:/, "")
    .replace(/(-[^-]*|~.*)$/, "")
    .replace(/[+~].*$/, "");
}
