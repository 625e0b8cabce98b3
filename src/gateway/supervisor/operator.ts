/**
 * Carries out what is asked over the control socket. Errors are sentences for whoever asked: what
 * is wrong, and what there is instead.
 */
import { fromText } from "../../wire/bytes.ts";
import type { GatewayStatus } from "../../wire/gateway-status.ts";
import type { InspectedApplication, Inspection } from "../../wire/inspection.ts";
import type { AppConfig } from "../config.ts";
import type { AdminKeeper } from "./admin-keeper.ts";
import { type RecentOutput, registrationsOf } from "./pool-channel.ts";
import { type ControlRequest, maxWaitMs } from "./control-request.ts";
import { awaitRestarts, isServed } from "./restart-outcomes.ts";
import type { Supervisor } from "./supervisor.ts";

/** What of the gateway is not the supervisor's. */
interface OperatorOptions {
  readonly supervisor: Supervisor;
  /** Reads the configuration anew. @returns what is wrong with it, if anything is. */
  reload(): Promise<readonly string[]>;
  /** Where the dashboard is; the processes that serve it, and how many have ended. */
  readonly admin: Pick<AdminKeeper, "dashboard" | "processes" | "restarts">;
  /** That of the program that serves after the last reload (GatewayStatus). */
  generation(): number;
  /** Begins the end. */
  stop(): void;
}

/** Where the output of an application is to be read, or its last lines. */
export type LoggedOutput = { readonly file: string } | RecentOutput;

export class Operator {
  readonly #options: OperatorOptions;

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  /** As CarryOut (control-socket.ts). */
  async carryOut(request: ControlRequest, asker: AbortSignal): Promise<object> {
    const { supervisor } = this.#options;
    switch (request.command) {
      case "status":
        return this.#status();
      case "restart":
        return this.#restart(this.#withProcesses(request.app), asker);
      case "logs":
        return this.#logs(this.#withProcesses(request.app), request.after);
      case "detach":
        await supervisor.pool.order({ kind: "detach", pid: request.pid });
        return {};
      case "stop":
        this.#options.stop();
        return { pid: process.pid };
      case "reload":
        return this.#reload(request.waitMs, asker);
      case "pause":
        supervisor.pause(this.#withProcesses(request.app).name, request.refuse ? "refuse" : "wait");
        return {};
      case "resume":
        supervisor.pause(this.#app(request.app).name, "none");
        return {};
      case "set":
        await supervisor.setPool(request.change);
        return {};
      case "reopen-logs":
        await supervisor.reopenLogs();
        return {};
      case "dashboard": {
        const { dashboard } = this.#options.admin;
        if (dashboard === undefined) {
          throw new Error("there is no dashboard: set listen in [admin]");
        }
        return dashboard;
      }
    }
  }

  async #status(): Promise<GatewayStatus> {
    const { supervisor, admin } = this.#options;
    const status = await supervisor.status();
    const restarts = { ...status.restarts, admin: admin.restarts };
    return { ...status, processes: [...status.processes, ...admin.processes], restarts };
  }

  #app(name: string): AppConfig {
    const { apps } = this.#options.supervisor.config;
    const app = apps.find((one) => one.name === name);
    if (app !== undefined) return app;
    const names = apps.map((one) => one.name).join(", ");
    throw new Error(`there is no application '${name}'; there are ${names}`);
  }

  /** What is done to processes or by them is nothing where there are only files. */
  #withProcesses(name: string): AppConfig {
    const app = this.#app(name);
    if (app.type !== "static") return app;
    throw new Error(`'${name}' has no processes: it is of type static`);
  }

  async #logs({ root, log }: AppConfig, after: number): Promise<LoggedOutput> {
    if (log !== undefined && "file" in log) return { file: log.file };
    return this.#options.supervisor.pool.recentOutput(root, after);
  }

  /** @returns when it is over. @throws Error when the new version did not start. */
  async #restart({ name, root }: AppConfig, asker: AbortSignal): Promise<object> {
    const { supervisor } = this.#options;
    const { pool } = supervisor;
    const inspect = () => pool.inspect();
    const before = countersOf(await inspect()).get(root);
    // The pool does not know of those that its predecessor has left.
    supervisor.tell({ kind: "restart", app: name });
    await pool.order({ kind: "restart", root: fromText(root) });
    const awaited = new Map([[root, { name, before }]]);
    const after = await awaitRestarts(inspect, awaited, maxWaitMs, asker);
    const [why] = after.failed;
    if (why !== undefined) throw new Error(why);
    if (after.underWay.length > 0) throw new Error(`'${name}' is still being restarted`);
    const found = after.pool.applications.find((application) => application.root === root);
    return { isServed: found !== undefined && isServed(found) };
  }

  /**
   * @returns when the restarts that it has caused are over, or have taken their time. @throws Error
   * when it is not taken, or an application did not come to its new version.
   */
  async #reload(waitMs: number, asker: AbortSignal): Promise<object> {
    const { supervisor } = this.#options;
    const inspect = () => supervisor.pool.inspect();
    const before = supervisor.config.apps;
    const counters = countersOf(await inspect().catch(() => undefined));
    const problems = await this.#options.reload();
    if (problems.length > 0) throw new Error(problems.join("\n"));
    const generation = this.#options.generation();
    if (generation !== supervisor.generation) return { generation };
    const [old, now] = [before, supervisor.config.apps].map(registrationsOf);
    const changed = supervisor.config.apps.filter(({ root }) => old?.get(root) !== now?.get(root));
    const awaited = new Map(
      changed.map(({ name, root }) => [root, { name, before: counters.get(root) }]),
    );
    const { failed, underWay, pool } = await awaitRestarts(inspect, awaited, waitMs, asker);
    if (failed.length > 0) throw new Error(`reloaded, but ${failed.join("; ")}`);
    const refused = supervisor.config.apps.filter(({ root }) =>
      pool.applications.some((one) => one.root === root && one.rollout === "refused"),
    );
    const names = refused.map(({ name }) => name);
    return { generation, underWay, refused: names };
  }
}

type Counters = ReadonlyMap<string, InspectedApplication["counters"]>;

function countersOf(pool: Inspection | undefined): Counters {
  return new Map(pool?.applications.map(({ root, counters }) => [root, counters]));
}
