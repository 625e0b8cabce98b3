/**
 * `serve`: an HTTP gateway in front of a pool server of its own, in one command. The parts are put
 * together here: configuration, systemd, supervisor, signals, log.
 */
import { existsSync, writeSync } from "node:fs";

import type { GatewayConfig } from "../gateway/config.ts";
import { ControlSocket } from "../gateway/supervisor/control-socket.ts";
import { Operator } from "../gateway/supervisor/operator.ts";
import { type AdminChange, AdminKeeper } from "../gateway/supervisor/admin-keeper.ts";
import type { Report } from "../gateway/supervisor/own-process.ts";
import {
  comeBack,
  forgetBefore,
  goodConfiguration,
  goOnAs,
  newProgram,
  type Succession,
  takeServed,
  takeSuccession,
  whyNotUsed,
} from "../gateway/supervisor/succession.ts";
import { runtimeDirectories } from "../gateway/supervisor/runtime-directory.ts";
import { Notifier } from "../gateway/supervisor/sd-notify.ts";
import { passedListeners } from "../gateway/supervisor/socket-activation.ts";
import { Supervisor } from "../gateway/supervisor/supervisor.ts";
import { nextTurn } from "../native/event-loop.ts";
import { mayFilesHang } from "../native/mounts.ts";
import { giveUpStartAndHeap } from "../native/own-text.ts";
import { findUser, setDescriptorLimit } from "../native/process.ts";
import { raiseDescriptorLimit } from "../server/descriptor-limit.ts";
import { LineWriter } from "../logging/line-writer.ts";
import { Log } from "../logging/log.ts";
import { lookAtApplication } from "../spawn/builtin/application-look.ts";
import { FilesAside } from "../spawn/files-aside.ts";
import { gatewayMetrics } from "../status/gateway-metrics.ts";
import { ascii, fromText } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { childEnvironment } from "./child-environment.ts";
import { reportMistakes } from "./mistakes.ts";
import { reapStrangers } from "./reaper.ts";
import { readServeArguments, type ServeRequest } from "./serve-options.ts";
import { onSignal, watchSignals } from "./signals.ts";
import { ConfigurationError, StartError } from "./usage-error.ts";
import { version } from "./program-name.ts";

/** As the pool server is asked for each (supervisor/pool-channel.ts). */
const asStarted = { lowerPrivilege: true, lowestUser: ascii("nobody"), ruby: ascii("ruby") };
/** A root that has not answered by then is left to its first request. */
const lookLimitMs = 1_000;

/** Runs the gateway until it ends. Where it throws (usage-error.ts) nothing is left running. */
export async function runServe(rawArguments: readonly string[]): Promise<void> {
  const request = readServeArguments(rawArguments);
  if (request.check) {
    const config = request.readConfig();
    const log = new Log(config.logLevel, config.logFormat, (line) => write(2, line));
    await warnOfMistakes(config, log);
    return say(`${goodConfiguration}: ${summary(config)}`);
  }
  giveUpStartAndHeap();
  // The pool server takes what its parent has for what applications are to have.
  setDescriptorLimit(raiseDescriptorLimit());
  const succession = takeSuccession(process.env);
  let gateway: Gateway;
  try {
    const config = (succession && takeServed(succession)) ?? request.readConfig();
    gateway = new Gateway(request, config, rawArguments, succession);
    await gateway.start();
  } catch (error) {
    if (succession !== undefined) comeBack(succession, causeText(error));
    if (error instanceof ConfigurationError) throw error;
    throw new StartError(causeText(error), { cause: error });
  }
  if (succession !== undefined) forgetBefore(succession);
  await gateway.run(succession?.failure);
}

class Gateway {
  readonly #request: ServeRequest;
  readonly #args: readonly string[];
  // While it starts it has limits of its own, and while it ends, what is silent is on its way out.
  readonly #notifier = new Notifier(
    process.env,
    () => !this.#hasStarted || this.#supervisor.isStopping || this.#supervisor.answers,
  );
  #hasStarted = false;
  readonly #supervisor: Supervisor;
  readonly #admin: AdminKeeper;
  /** What the start asks for. */
  readonly #adminChange: AdminChange;
  readonly #ended = Promise.withResolvers<void>();
  readonly #operator: Operator;
  #control: ControlSocket | undefined;
  /** The program that comes in the place of this one, now that the last answers are given. */
  #successor: string | undefined;
  readonly #stderr = new LineWriter(undefined);
  #log: Log;
  /** The last reload that was begun, and the one that follows it. */
  #reloading: Promise<unknown> = Promise.resolve();
  #nextReload: Promise<readonly string[]> | undefined;

  constructor(
    request: ServeRequest,
    config: GatewayConfig,
    args: readonly string[],
    succession: Succession | undefined,
  ) {
    this.#request = request;
    this.#args = args;
    this.#log = this.#makeLog(config);
    reportMistakes({ error: (event, fields) => this.#log.error(event, fields) });
    const report: Report = (level, event, fields) => this.#log.event(level, event, fields);
    const env = childEnvironment();
    this.#admin = new AdminKeeper({
      report,
      env,
      metrics: gatewayMetrics,
      supervisor: () => this.#supervisor,
      carryOut: (asked, asker) => {
        if (!this.#hasStarted) throw new Error("the gateway has not started yet");
        return this.#operator.carryOut(asked, asker);
      },
    });
    using unfinished = new DisposableStack();
    this.#adminChange = unfinished.adopt(this.#admin.prepare(config), (change) => change.undo());
    this.#supervisor = new Supervisor({
      config,
      inherited: passedListeners(process.env, config.tls !== undefined),
      report,
      env,
      succession,
      version: version(),
    });
    unfinished.move();
    this.#operator = new Operator({
      supervisor: this.#supervisor,
      admin: this.#admin,
      reload: () => this.#reloadSoon(),
      generation: () => this.#supervisor.generation + (this.#successor === undefined ? 0 : 1),
      stop: () => this.#stop("stop"),
    });
  }

  /** @throws Error when it does not come up; then nothing of it is left running. */
  async start(): Promise<void> {
    const supervisor = this.#supervisor;
    onSignal((signal) => {
      switch (signal) {
        case "SIGTERM":
        case "SIGINT":
          if (supervisor.isStopping) return supervisor.hurry();
          return this.#stop(signal);
        case "SIGHUP":
          return void this.#reloadSoon();
        case "SIGUSR1":
          return void supervisor.reopenLogs();
        case "SIGUSR2":
          return;
      }
    });
    try {
      await supervisor.start();
      this.#hasStarted = true;
      this.#adminChange.commit();
    } catch (error) {
      this.#adminChange.undo();
      if (!supervisor.isStopping) throw error;
    }
  }

  /** Serves until it ends. @param failure why the program after this one is not used. */
  async run(failure: string | undefined): Promise<void> {
    const supervisor = this.#supervisor;
    this.#control = this.#openControl();
    reapStrangers();
    if (!supervisor.isStopping) {
      void warnOfMistakes(supervisor.config, this.#log);
      for (const url of supervisor.urls) say(`listening on ${url}`);
      this.#sayAdmin();
      this.#notifier.ready(summary(supervisor.config));
      if (failure !== undefined) {
        this.#staysBecause(newProgram(process.argv0) ?? process.argv0, failure);
      }
    }
    await this.#ended.promise;
    this.#control?.close();
    await this.#admin.close();
    this.#notifier.close();
  }

  #stop(reason: string): void {
    this.#notifier.stopping();
    this.#log.event(1, "gateway ends", { reason });
    this.#ended.resolve(this.#supervisor.stop());
  }

  /** However many ask for one during a reload, one more follows it. @returns what is wrong. */
  #reloadSoon(): Promise<readonly string[]> {
    this.#nextReload ??= this.#reloading.then(() => {
      this.#nextReload = undefined;
      const reload = this.#reload();
      this.#reloading = reload;
      return reload;
    });
    return this.#nextReload;
  }

  async #reload(): Promise<readonly string[]> {
    // The one that comes reads all of it anew; what is started now is a child of nobody's there.
    if (this.#successor !== undefined) return [];
    const supervisor = this.#supervisor;
    this.#notifier.reloading();
    const program = newProgram(process.argv0);
    if (program !== undefined) return this.#goOnAs(program);
    const before = new Set(supervisor.urls);
    let problems: readonly string[] = [];
    try {
      const config = this.#request.readConfig();
      using unfinished = new DisposableStack();
      const admin = unfinished.adopt(this.#admin.prepare(config), (change) => change.undo());
      await supervisor.reload(config);
      unfinished.move();
      const known = this.#admin.dashboard?.url;
      admin.commit();
      if (this.#admin.dashboard?.url !== known) this.#sayAdmin();
      this.#log = this.#makeLog(config);
      void warnOfMistakes(config, this.#log);
      this.#log.event(1, "configuration reloaded");
      for (const url of supervisor.urls) if (!before.has(url)) say(`listening on ${url}`);
    } catch (error) {
      problems = error instanceof ConfigurationError ? error.problems : [causeText(error)];
      for (const cause of problems) this.#log.error("configuration not reloaded", { cause });
    }
    const status = `configuration not reloaded: ${problems.join("; ")}`;
    const isGood = problems.length === 0;
    if (!supervisor.isStopping) {
      this.#notifier.ready(isGood ? summary(supervisor.config) : status);
    }
    return problems;
  }

  /** Has another program come in the place of this one. @returns why it does not. */
  async #goOnAs(program: string): Promise<readonly string[]> {
    const supervisor = this.#supervisor;
    const why =
      supervisor.predecessors.length > 0
        ? "processes of the program before are still leaving; try again when they have"
        : await whyNotUsed(program, this.#args, childEnvironment());
    if (supervisor.isStopping) return [];
    if (why === undefined) {
      this.#log.event(0, "goes on as a new program", { program });
      this.#successor = program;
      // Whoever has asked for it is answered first.
      void nextTurn().then(() => this.#become(program));
      return [];
    }
    return [this.#staysBecause(program, why)];
  }

  #staysBecause(program: string, why: string): string {
    const cause = `the new program '${program}' is not used, this one serves on: ${why}`;
    this.#log.error("not gone on as a new program", { cause });
    this.#notifier.ready(cause);
    return cause;
  }

  /** What is not passed on ends with this program, or is ended before. */
  async #become(program: string): Promise<void> {
    const supervisor = this.#supervisor;
    // One that has only just been started would be left without what it is to serve.
    await supervisor.pool.admitted().catch(() => {});
    this.#control?.close();
    await this.#admin.close();
    if (supervisor.isStopping) return;
    try {
      goOnAs(program, supervisor.passOn, supervisor.config);
    } catch (error) {
      watchSignals();
      this.#successor = undefined;
      this.#admin.prepare(supervisor.config).commit();
      this.#control = this.#openControl();
      this.#staysBecause(program, causeText(error));
    }
  }

  #sayAdmin(): void {
    const { dashboard } = this.#admin;
    if (dashboard !== undefined) say(`admin address ${dashboard.url}`);
  }

  /** One can do without it: what stands in its way is a warning. */
  #openControl(): ControlSocket | undefined {
    try {
      const [directory] = runtimeDirectories(process.env);
      return new ControlSocket(directory, this.#operator.carryOut.bind(this.#operator));
    } catch (error) {
      this.#log.event(0, "no control socket", { cause: causeText(error) });
      return undefined;
    }
  }

  #makeLog(config: GatewayConfig): Log {
    return new Log(config.logLevel, config.logFormat, (line) => this.#stderr.write(line));
  }
}

/**
 * What cannot be found or started now may be there when it is asked for; whoever has mistyped a
 * directory wants to know it before. Nobody waits for it where a mount may be dead.
 */
async function warnOfMistakes({ apps }: GatewayConfig, log: Log): Promise<void> {
  const aside = mayFilesHang() ? new FilesAside() : undefined;
  for (const { name, root, type, options, files } of apps) {
    for (const { path, directory } of files) {
      if (path === "/" && type !== "static") continue;
      if (!mayFilesHang() && !existsSync(directory)) {
        log.event(0, "no files found", { app: name, path, cause: `'${directory}' does not exist` });
      }
    }
    if (type === "static") continue;
    const request = { ...asStarted, root: fromText(root), appType: type, ...options };
    const looked = aside?.look(request, lookLimitMs) ?? lookAtApplication(request);
    const { why } = await Promise.resolve(looked).catch((error: unknown) => {
      return { why: causeText(error) };
    });
    if (why !== undefined) log.event(0, "application cannot be started", { app: name, cause: why });
    const { user } = options;
    if (user !== undefined && !mayRunAs(user)) {
      log.event(0, "user not taken", { app: name, user, cause: "serve is not root" });
    }
  }
  aside?.close();
}

function mayRunAs(user: string): boolean {
  const own = process.geteuid?.();
  return own === 0 || findUser(user)?.uid === own;
}

/** `2 applications, 1 worker`. */
function summary({ apps, workers }: GatewayConfig): string {
  return `${count(apps.length, "application")}, ${count(workers, "worker")}`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function say(line: string): void {
  write(1, `${line}\n`);
}

/** Whoever was to read it may be gone: no reason to serve nothing. */
function write(descriptor: 1 | 2, text: string): void {
  try {
    writeSync(descriptor, text);
  } catch {
    // there is nowhere left to say so
  }
}
