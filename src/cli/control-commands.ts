/** The commands that change a gateway while it runs: restart, detach, pause and so on. */
import { writeSync } from "node:fs";
import type { ArgsDef, CommandDef } from "citty";

import {
  type ControlRequest,
  maxWaitMs,
  type PoolChange,
} from "../gateway/supervisor/control-request.ts";
import type { GatewayStatus } from "../wire/gateway-status.ts";
import { isAlive } from "../native/process.ts";
import type { ControlCommandName } from "./arguments.ts";
import { Table, type Problem } from "./config-table.ts";
import {
  findGateway,
  type FoundGateway,
  gatewayOptions,
  ofUser,
  processNumber,
  wordOf,
} from "./gateway-client.ts";
import { readPool } from "./gateway-settings.ts";
import { type Arguments, option, readArguments } from "./options.ts";
import { harmless } from "./terminal.ts";
import { parseTime } from "./units.ts";
import { StartError, UsageError } from "./usage-error.ts";

interface ControlCommand {
  readonly description: string;
  /** What has to be given, in this order. */
  readonly words: readonly string[];
  readonly options?: ArgsDef;
  request(words: readonly string[], given: Arguments["given"]): ControlRequest;
  /** What is said when it is done. @param answer of the gateway. */
  done(words: readonly string[], answer: object): string;
}

const commands: Readonly<Record<ControlCommandName, ControlCommand>> = {
  restart: {
    description: "Restarts an application and waits until that is over; 1 if it does not start.",
    words: ["APP"],
    request: ([app = ""]) => ({ command: "restart", app }),
    done: ([app], answer) =>
      "isServed" in answer && answer.isServed === false
        ? `${app}: none of its processes runs, so none of the new version was tried; the next ` +
          "request starts one"
        : `${app}: restarted`,
  },
  detach: {
    description: "Has one process leave the pool; it ends after the requests at hand.",
    words: ["PID"],
    request: ([text = ""]) => ({ command: "detach", pid: processNumber(text) }),
    done: ([pid]) => `${pid}: detached`,
  },
  pause: {
    description: "Holds an application's requests back until it is resumed.",
    words: ["APP"],
    options: {
      refuse: {
        type: "boolean",
        description: "answer 503 meanwhile, rather than have requests wait",
      },
    },
    request: ([app = ""], given) => ({ command: "pause", app, refuse: given.has("refuse") }),
    done: ([app]) => `${app}: paused`,
  },
  resume: {
    description: "Lets an application's requests go on.",
    words: ["APP"],
    request: ([app = ""]) => ({ command: "resume", app }),
    done: ([app]) => `${app}: resumed`,
  },
  set: {
    description: "Changes max, max_per_app, max_idle_time or global_queue until the next reload.",
    words: ["KEY", "VALUE"],
    request: ([key = "", value = ""]) => ({ command: "set", change: poolChange(key, value) }),
    done: ([key, value]) => `${key} = ${value}`,
  },
  reload: {
    description:
      "Reads the configuration anew, as SIGHUP does, and waits until the applications that it " +
      "changes have restarted; 1 if it is not taken, or one of them does not start.",
    words: [],
    options: {
      wait: option(
        "TIME",
        "for restarts at most, such as 60s (default 1h); what goes on then is no failure",
      ),
    },
    request: (_, given) => ({ command: "reload", waitMs: waitOf(given) }),
    done: (_, answer) => reloaded(answer),
  },
  "reopen-logs": {
    description: "Opens log files anew, as SIGUSR1 does.",
    words: [],
    request: () => ({ command: "reopen-logs" }),
    done: () => "logs reopened",
  },
  dashboard: {
    description: "Tells the dashboard's address, with the token that opens it.",
    words: [],
    request: () => ({ command: "dashboard" }),
    done: (_, answer) => {
      const { url, token } = answer as { readonly url: string; readonly token: string };
      return url.startsWith("unix:") ? `${url}\ntoken ${token}` : `${url}/#token=${token}`;
    },
  },
  stop: {
    description: "Ends the gateway as SIGTERM does, and waits until it has ended.",
    words: [],
    request: () => ({ command: "stop" }),
    done: () => "stopped",
  },
};

export function controlCommand(name: ControlCommandName): CommandDef {
  const { description, words, options } = commands[name];
  const positions = words.map((word) => [word, wordOf(word)] as const);
  return {
    meta: { name: `ApplicationPoolServerExecutable ${name}`, description },
    args: { ...Object.fromEntries(positions), ...options, ...gatewayOptions },
  };
}

/** @throws UsageError, StartError. */
export async function runControl(
  name: ControlCommandName,
  rawArguments: readonly string[],
): Promise<void> {
  const command: ControlCommand = commands[name];
  const definition = { ...command.options, ...gatewayOptions };
  const { words, given } = readArguments(rawArguments, definition);
  const missing = command.words[words.length];
  if (missing !== undefined) throw new UsageError(`${name}: ${missing} is missing`);
  const extra = words[command.words.length];
  if (extra !== undefined) throw new UsageError(`unexpected argument '${extra}'`);
  const request = command.request(words, given);
  const gateway = await findGateway(given);
  const answer = await gateway.ask(request);
  if ("generation" in answer) await untilServes(Number(answer.generation), gateway);
  if (name === "stop") await untilGone(gateway.pid);
  const whose = gateway.user === undefined ? "" : ` (gateway ${gateway.pid}${ofUser(gateway)})`;
  writeSync(1, `${harmless(command.done(words, answer))}${whose}\n`);
}

/** Of `reload`. @throws UsageError. */
function waitOf(given: Arguments["given"]): number {
  const [text] = given.get("wait") ?? [];
  if (text === undefined) return maxWaitMs;
  const ms = parseTime(text);
  if (ms !== undefined && ms <= maxWaitMs) return ms;
  throw new UsageError(`--wait is '${text}', not a time such as 30s or 0s, up to 1h`);
}

/** @param answer of the gateway, of any version. */
function reloaded(answer: object): string {
  const { underWay = [], refused = [] } = answer as Readonly<Record<string, readonly string[]>>;
  const more = [
    underWay.length > 0 ? `; still being restarted: ${underWay.join(", ")}` : "",
    refused.length > 0
      ? `; as before, old processes serve on of ${refused.join(", ")}, whose new version did not ` +
        "start: restart tries it again"
      : "",
  ];
  return `reloaded${more.join("")}`;
}

/** What the key's value comes to, read as it is in a configuration. @throws UsageError. */
function poolChange(key: string, text: string): PoolChange {
  const problems: Problem[] = [];
  const value = /^(true|false|[0-9]{1,15})$/.test(text) ? (JSON.parse(text) as unknown) : text;
  const table = new Table({ [key]: value }, { directory: "", problems });
  const { max, maxPerApp, maxIdleSeconds, globalQueue } = readPool(table);
  const changes: Readonly<Record<string, PoolChange>> = {
    max: { max },
    max_per_app: { maxPerApp },
    max_idle_time: { maxIdleSeconds },
    global_queue: { globalQueue },
  };
  const change = Object.hasOwn(changes, key) ? changes[key] : undefined;
  if (change === undefined) {
    throw new UsageError(`'${key}' cannot be set; ${Object.keys(changes).join(", ")} can`);
  }
  const [problem] = problems;
  if (problem !== undefined) throw new UsageError(`${problem.key} ${problem.why}`);
  return change;
}

/** How long a new program may take until it serves. */
const successionLimitMs = 60_000;

/** Waits for a program that has come in the place of another. @throws StartError. */
async function untilServes(generation: number, gateway: FoundGateway): Promise<void> {
  const { pid, status } = gateway;
  for (let waitedMs = 0; waitedMs < successionLimitMs; waitedMs += lookMs) {
    const now = (await gateway.ask({ command: "status" }).catch(() => status)) as GatewayStatus;
    const { failedSuccessor: why } = now;
    if (now.generation > generation && why !== null) {
      throw new StartError(
        `the new program did not start, the one before serves on: ${harmless(why)}`,
      );
    }
    if (now.generation >= generation) return;
    await Bun.sleep(lookMs);
  }
  throw new StartError(`gateway ${pid} has not gone on as the new program: see its log`);
}

/** How long an end may take: longer than any drain_time. */
const endLimitMs = 2 * 3_600_000;
const lookMs = 50;

async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < endLimitMs; waitedMs += lookMs) {
    if (!isAlive(pid)) return;
    await Bun.sleep(lookMs);
  }
  throw new StartError(`gateway ${pid} has not ended within ${endLimitMs / 1000} s`);
}
