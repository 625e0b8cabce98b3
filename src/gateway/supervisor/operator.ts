/**
 * Carries out what is asked over the control socket. Errors are sentences for whoever asked: what
 * is wrong, and what there is instead.
 */
import { fromText } from "../../wire/bytes.ts";
import type { GatewayStatus } from "../../wire/gateway-status.ts";
import type { AppConfig } from "../config.ts";
import type { AdminKeeper } from "./admin-keeper.ts";
import type { RecentOutput } from "./pool-channel.ts";
import type { ControlRequest } from "./control-request.ts";
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

/** Between two looks whether a restart is over. */
const lookMs = 100;
/** A restart takes as long as its starts do; this is more than any of them may take in all. */
const restartLimitMs = 3_600_000;

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
        return this.#restart(this.#app(request.app), asker);
      case "logs":
        return this.#logs(this.#app(request.app), request.after);
      case "detach":
        await supervisor.pool.order({ kind: "detach", pid: request.pid });
        return {};
      case "stop":
        this.#options.stop();
        return { pid: process.pid };
      case "reload": {
        const problems = await this.#options.reload();
        if (problems.length > 0) throw new Error(problems.join("\n"));
        return { generation: this.#options.generation() };
      }
      case "pause":
        supervisor.pause(this.#app(request.app).name, request.refuse ? "refuse" : "wait");
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

  async #logs({ name, root, type, log }: AppConfig, after: number): Promise<LoggedOutput> {
    if (type === "static") throw new Error(`'${name}' has no processes that could write anything`);
    if (log !== undefined && "file" in log) return { file: log.file };
    return this.#options.supervisor.pool.recentOutput(root, after);
  }

  /**
   * @returns when it is over; where all processes go at once, when one is there again that is to be
   * there. @throws Error when the new version did not start.
   */
  async #restart({ name, root }: AppConfig, asker: AbortSignal): Promise<object> {
    const { pool } = this.#options.supervisor;
    const look = async () =>
      (await pool.inspect()).applications.find((application) => application.root === root);
    const failedBefore = (await look())?.counters.spawnsFailed ?? 0;
    await pool.order({ kind: "restart", root: fromText(root) });
    for (let waitedMs = 0; !asker.aborted && waitedMs < restartLimitMs; waitedMs += lookMs) {
      const found = await look();
      if (found === undefined) return {};
      const { rollout, instances, spawns, counters } = found;
      const why = found.lastSpawnError?.message ?? "it does not start";
      if (rollout === "refused") {
        throw new Error(`'${name}' was not restarted, its old processes serve on: ${why}`);
      }
      const isServed = instances.some(({ state }) => state !== "leaving" && state !== "dead");
      const isOver = rollout === null && (isServed || spawns.length === 0);
      if (isOver && !isServed && counters.spawnsFailed !== failedBefore) {
        throw new Error(`'${name}' was restarted, and cannot be started: ${why}`);
      }
      if (isOver) return {};
      await Bun.sleep(lookMs);
    }
    throw new Error(`'${name}' is still being restarted`);
  }
}
