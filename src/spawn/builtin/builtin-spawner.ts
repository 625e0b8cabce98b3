/**
 * Makes instances itself (PROTOCOL section 10): finds out what an application is and whom it may
 * run as, starts it through the launch command with its loader, and waits until it is ready.
 * Whatever goes wrong becomes a SpawnError with a page for people, and leaves nothing behind.
 */
import { availableParallelism } from "node:os";

import { findUserById, type DescriptorLimit, type User } from "../../native/process.ts";
import type { AppRequest } from "../../wire/app-request.ts";
import { ascii, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import { launchCommand, launcherCommand } from "../launch-plan.ts";
import {
  SpawnError,
  type Instance,
  type Notify,
  type SpawnRequest,
  type Spawner,
} from "../spawner.ts";
import { findApplication, type FoundApplication } from "./app-type.ts";
import { BuiltinInstance } from "./builtin-instance.ts";
import { renderErrorPage, type FailedStart } from "./error-page.ts";
import { InstanceProcess, type EndTimes } from "./instance-process.ts";
import { LoaderDirectory } from "./loader-files.ts";
import { loaders, usualConcurrency, type Loader } from "./loaders.ts";
import { chooseUser } from "./privileges.ts";

/** One line (or 8 KiB of one) that an instance wrote, without its line end. */
export type WriteOutput = (pid: number, root: ByteString, line: ByteString) => void;

export interface BuiltinSpawnerOptions {
  readonly notify: Notify;
  /** Must not block: it is called on the event loop. */
  readonly writeOutput: WriteOutput;
  /** RLIMIT_NOFILE as it was before the server raised it; absent: left as it is. */
  readonly originalDescriptorLimit?: DescriptorLimit;
  /** The Ruby of rack applications; default `ruby`. */
  readonly ruby?: ByteString;
  /** How to run our own binary for the hidden launch command; default launcherCommand(). */
  readonly launcher?: readonly string[];
  /** Where its private directory lies; default: the system's for temporary files. */
  readonly baseDirectory?: string;
  /** Default: those of PROTOCOL sections 1 and 10. */
  readonly endTimes?: EndTimes;
}

const shuttingDown = "the server is shutting down";

const protocolTimes: EndTimes = { retiredMs: 60_000, shutdownMs: 5_000, terminatedMs: 5_000 };

/** Applications whose kind is remembered for expectedConcurrency; more are found out again. */
const maxRemembered = 1_000;

/** What is known of a start, for its error page. */
type Progress = { -readonly [Key in keyof FailedStart]?: FailedStart[Key] };

export class BuiltinSpawner implements Spawner {
  readonly pid = process.pid;
  readonly spawnsAtOnce = 2 * availableParallelism();
  readonly pausesAfterFailures = true;
  readonly #options: BuiltinSpawnerOptions;
  readonly #directory: LoaderDirectory;
  readonly #times: EndTimes;
  readonly #shutdown = new AbortController();
  readonly #hurry = new AbortController();
  readonly #processes = new Set<InstanceProcess>();
  readonly #usual = new Map<ByteString, number>();

  constructor(options: BuiltinSpawnerOptions) {
    this.#options = options;
    this.#directory = new LoaderDirectory(options.baseDirectory);
    this.#times = options.endTimes ?? protocolTimes;
  }

  expectedConcurrency(app: AppRequest): number {
    const { appType, root } = app;
    if (appType !== "auto") return usualConcurrency(appType === "rails" ? "rack" : appType);
    return this.#usual.get(root) ?? this.#remember(root, this.#findUsual(app));
  }

  start(): void {
    this.#directory.sweep();
  }

  async spawn(request: SpawnRequest): Promise<Instance> {
    const progress: Progress = {};
    let started: InstanceProcess | undefined;
    try {
      started = await this.#launch(request, progress);
      const concurrency = await this.#untilReady(started, request, progress);
      this.#remember(request.root, concurrency);
      return new BuiltinInstance(started, concurrency, this.#times.retiredMs);
    } catch (error) {
      started?.kill();
      const output = await started?.lastOutput();
      throw spawnError(request, { ...progress, ...(output && { output }) }, error);
    }
  }

  reload(): void {
    // Every instance is a fresh process: nothing is cached.
  }

  async close(hurry: AbortSignal): Promise<void> {
    this.#shutdown.abort();
    const onHurry = () => this.#hurry.abort();
    hurry.addEventListener("abort", onHurry);
    if (hurry.aborted) onHurry();
    const ends = Array.from(this.#processes, (process) => process.end(this.#times.retiredMs));
    await Promise.all(ends);
    for (const process of this.#processes) process.stopOutput();
    hurry.removeEventListener("abort", onHurry);
    this.#directory.remove();
  }

  async #launch(request: SpawnRequest, progress: Progress): Promise<InstanceProcess> {
    if (this.#shutdown.signal.aborted) throw new Error(shuttingDown);
    const { root } = request;
    const app = findApplication(root, request.appType, hasNode());
    progress.startup = `${toText(app.startupFile)} (${app.loader})`;
    const user = chooseUser(request, app.owner);
    progress.user = user?.name ?? ownName();
    const loader = loaderFor(app);
    const files = await this.#directory.loader(app.loader, loader.files);
    if (this.#shutdown.signal.aborted) throw new Error(shuttingDown);
    const { argv, env } = this.#command(request, app, loader, files, user);
    const started = new InstanceProcess({
      argv,
      env,
      socketPlace: this.#directory.socketPlace(),
      urgency: { times: this.#times, shutdown: this.#shutdown.signal, hurry: this.#hurry.signal },
      writeLine: (pid, line) => this.#options.writeOutput(pid, root, line),
    });
    void this.#keep(started);
    return started;
  }

  #command(
    request: SpawnRequest,
    app: FoundApplication,
    loader: Loader,
    files: string,
    user: User | undefined,
  ): { argv: string[]; env: Record<string, string> } {
    const { root, environment, concurrency = loader.concurrency } = request;
    const { originalDescriptorLimit: descriptorLimit } = this.#options;
    const ruby = this.#options.ruby ?? ascii("ruby");
    const start = { app, root, directory: files, concurrency, ruby, isPreloader: false };
    const command = loader.command(start);
    const variables = [
      ...environmentNames.map((name) => `${name}=${environment}` as ByteString),
      ...Object.entries(request.variables ?? {}).map(([name, value]) =>
        fromText(`${name}=${value}`),
      ),
      ...command.variables.map(fromText),
    ];
    const plan = {
      argv: command.argv,
      directory: root,
      variables,
      isInstance: true,
      ...(user && { user }),
      ...(descriptorLimit && { descriptorLimit }),
    };
    return launchCommand(plan, this.#options.launcher ?? launcherCommand());
  }

  async #untilReady(
    started: InstanceProcess,
    request: SpawnRequest,
    progress: Progress,
  ): Promise<number> {
    const said = await within(request.timeoutMs, started.announced);
    if (said === "late") throw new Error(`it was not ready within ${request.timeoutMs} ms`);
    if (said === undefined) {
      if (this.#shutdown.signal.aborted) throw new Error(shuttingDown);
      throw new Error(`it ${await started.describeEnd()} before it was ready`);
    }
    if (said.kind === "ready") return said.concurrency;
    progress.detail = Buffer.from(said.text).toString("utf8");
    throw new Error(firstLine(progress.detail));
  }

  /** Knows it until nothing of it is left, also nothing that holds its output open. */
  async #keep(started: InstanceProcess): Promise<void> {
    this.#processes.add(started);
    await started.gone;
    await started.end(this.#times.terminatedMs);
    await started.outputEnded;
    this.#processes.delete(started);
  }

  #findUsual({ root }: AppRequest): number {
    try {
      return usualConcurrency(findApplication(root, "auto", hasNode()).loader);
    } catch {
      return 1; // The spawn will say what is wrong.
    }
  }

  #remember(root: ByteString, concurrency: number): number {
    if (this.#usual.size >= maxRemembered) this.#usual.clear();
    this.#usual.set(root, concurrency);
    return concurrency;
  }
}

/** How the `environment` of a get reaches applications of all kinds. */
const environmentNames = ["RACK_ENV", "RAILS_ENV", "NODE_ENV", "WSGI_ENV", "APP_ENV"];

function hasNode(): boolean {
  return Bun.which("node") !== null;
}

function ownName(): string {
  const uid = process.geteuid?.() ?? 0;
  return findUserById(uid)?.name ?? String(uid);
}

function loaderFor(app: FoundApplication): Loader {
  const loader = loaders[app.loader];
  if (loader !== undefined) return loader;
  const known = Object.keys(loaders).join(", ");
  throw new Error(
    `this build cannot yet start applications of type ${app.loader}, only of type ${known}`,
  );
}

/** The value, or `late` when it takes longer than `ms`. */
async function within<T>(ms: number, value: Promise<T>): Promise<T | "late"> {
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(late.resolve, ms, "late");
  try {
    return await Promise.race([value, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** The line that names the error: loaders put a piece of source code before it. */
function firstLine(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const named = lines.find((line) => /^[\w.]*(error|message|exception)\b.*:/i.test(line));
  return (named ?? lines.find((line) => line !== "") ?? "it said nothing").slice(0, 500);
}

function spawnError(request: SpawnRequest, progress: Progress, cause: unknown): SpawnError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const page = renderErrorPage({
    root: toText(request.root),
    environment: toText(request.environment),
    ...progress,
    message,
  });
  return new SpawnError(message, page, { cause });
}
