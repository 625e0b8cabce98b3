/**
 * How an instance is to be started: what the application is, whom it runs as, the command that runs
 * it, and what its error page can say of all that.
 */
import type { DescriptorLimit, User } from "../../native/process.ts";
import { ascii, escapeForLog, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import { MAX_CONCURRENCY } from "../../wire/instance-protocol.ts";
import {
  asEntries,
  encodePlan,
  launchCommand,
  type LaunchCommand,
  type LaunchPlan,
} from "../launch-plan.ts";
import type { SpawnRequest, UsualInstances } from "../spawner.ts";
import { lookAtApplication, type Looked, type LookRequest } from "./application-look.ts";
import type { FailedStart } from "./error-page.ts";
import type { LoaderDirectory } from "./loader-files.ts";
import { loaders, type Loader, type LoaderStart } from "./loaders.ts";
import { limitsFor } from "./resource-limits.ts";
import type { Way } from "./program/way.ts";

/** What is known of a start, for its error page. */
export type Progress = { -readonly [Key in keyof FailedStart]?: FailedStart[Key] };

export interface StartOptions {
  /** RLIMIT_NOFILE as it was before the server raised it; absent: left as it is. */
  readonly originalDescriptorLimit?: DescriptorLimit;
  /** The file of a control group that the process is to be in (cgroup.procs). */
  readonly group?: string | undefined;
  /** The Ruby of rack applications; default `ruby`. */
  readonly ruby?: ByteString;
}

export interface StartPlan {
  /** Whether a preloader can load the code and fork instances. */
  readonly canPreload: boolean;
  /** Whether each session of an instance that serves so many has a thread. */
  hasThreads(concurrency: number): boolean;
  /** What is usual for the application, now that an instance has said what it serves at once. */
  usualAfter(concurrency: number): UsualInstances;
  /** User id of whom it runs as. */
  readonly user: number;
  /** Whose it is, if it is to become somebody else. */
  readonly become: User | undefined;
  /** Equal where instances would run alike. */
  readonly signature: string;
  /** The command of an instance, or of a preloader of such instances. */
  command(role: "instance" | "preloader", way?: Way): LaunchCommand;
}

/** How the `environment` of a get reaches applications of all kinds. */
const environmentNames = ["RACK_ENV", "RAILS_ENV", "NODE_ENV", "WSGI_ENV", "APP_ENV"];

/**
 * @throws Error: what keeps it from being started, or a loader from being written; an unknown word
 * of the get.
 */
export async function planStart(
  request: SpawnRequest,
  options: StartOptions,
  directory: LoaderDirectory,
  progress: Progress,
  look: (request: LookRequest) => Looked | Promise<Looked> = lookAtApplication,
): Promise<StartPlan> {
  const isSmart = wantsSmart(request);
  const {
    facts: app,
    why = "",
    ...seen
  } = await look({
    ...request,
    ruby: options.ruby ?? ascii("ruby"),
  });
  Object.assign(progress, seen);
  if (app === undefined) throw new Error(why);
  const loader = loaders[app.loader];
  const { loaderTexts } = await loadTexts();
  const [files = ""] = loader.folders.map((name) => directory.loader(name, loaderTexts[name]));
  const planFor = (isPreloader: boolean, way?: Way): LaunchPlan =>
    launchPlan(loader, { app, request, directory: files, isPreloader, way }, options);
  return {
    user: app.user?.uid ?? process.geteuid?.() ?? 0,
    become: app.user,
    canPreload: loader.canPreload && isSmart,
    hasThreads: (concurrency) =>
      loader.hasThreads === true || (loader.isEither === true && concurrency === request.threads),
    usualAfter: (concurrency) => usualAfter(loader, concurrency, request),
    get signature() {
      return encodePlan(planFor(true));
    },
    command: (role, way) => {
      const plan = planFor(role === "preloader", way);
      progress.command = plan.argv.map((argument) => toText(argument)).join(" ");
      return launchCommand(plan);
    },
  };
}

/** Not loaded with the server: a parent waits for its start. */
export function loadTexts(): Promise<typeof import("./loader-texts.ts")> {
  return import("./loader-texts.ts");
}

function wantsSmart({ spawnMethod }: SpawnRequest): boolean {
  if (spawnMethod === "smart") return true;
  if (spawnMethod === "conservative") return false;
  throw new Error(
    `its spawn method '${escapeForLog(spawnMethod)}' is neither smart nor conservative`,
  );
}

/** Of the two kinds of Python, that which has as many as it was asked for keeps its state. */
function usualAfter(
  { usual, isEither }: Loader,
  concurrency: number,
  asked: SpawnRequest,
): UsualInstances {
  const { concurrency: most = MAX_CONCURRENCY } = asked;
  const isOneForAll = isEither === true && concurrency > 1 && concurrency === most;
  return { concurrency, instances: isEither === true ? Number(isOneForAll) : usual.instances };
}

function launchPlan(
  loader: Loader,
  start: LoaderStart,
  { originalDescriptorLimit, group }: StartOptions,
): LaunchPlan {
  const { app, request, way } = start;
  const { root, environment, umask } = request;
  const { user, identity } = app;
  const command = loader.command(start);
  const cwd = cwdOf(request);
  const variables = [
    ...environmentNames.map((name) => `${name}=${environment}` as ByteString),
    `PWD=${cwd ?? root}` as ByteString,
    ...asEntries(app.variables),
    ...asEntries(request.env),
    ...command.variables.map(fromText),
  ];
  return {
    argv: command.argv,
    isOwnProgram: command.isOwnProgram === true,
    directory: { path: root, identity },
    ...(cwd !== undefined && { cwd }),
    ...(umask !== undefined && { umask }),
    variables,
    isInstance: true,
    // Python of which it is not known yet sees to it itself.
    ...(loader.usual.concurrency === 1 && loader.isEither !== true && { isBatch: true }),
    ...(way && { program: way.listener === undefined ? "alone" : "with a listener" }),
    ...(user && { user }),
    ...(group !== undefined && { group }),
    limits: limitsFor(request.limits, originalDescriptorLimit),
  };
}

/** The working directory, if it is another than the root. */
function cwdOf({ root, cwd }: SpawnRequest): ByteString | undefined {
  if (cwd === undefined || cwd === ".") return undefined;
  return cwd.startsWith("/") ? fromText(cwd) : (`${root}/${fromText(cwd)}` as ByteString);
}
