/** Finds a gateway that runs, by its control socket in the runtime directory, and asks it. */
import { readdirSync, unlinkSync } from "node:fs";
import { basename, join } from "node:path";

import type { ControlRequest } from "../gateway/supervisor/control-request.ts";
import type { GatewayStatus } from "../wire/gateway-status.ts";
import { runtimeDirectories, whyNotSafe } from "../gateway/supervisor/runtime-directory.ts";
import { isAlive } from "../native/process.ts";
import type { Arguments } from "./options.ts";
import { StartError, UsageError } from "./usage-error.ts";

/** Which gateway is meant: options of every command that asks one. */
export const gatewayOptions = {
  pid: { type: "string", valueHint: "PID", description: "of the gateway, if several run" },
  name: { type: "string", valueHint: "NAME", description: "of the gateway, if several run" },
} as const;

/** A gateway that takes longer does not say what it does. */
const statusLimitMs = 5000;

/** A gateway that answers. */
export interface FoundGateway {
  readonly status: GatewayStatus;
  /** @returns the answer. @throws StartError: why it was not done, or that nobody answers. */
  ask(request: ControlRequest): Promise<object>;
}

/** The one gateway that answers, or that of a process or name. @throws UsageError, StartError. */
export async function findGateway(given: Arguments["given"]): Promise<FoundGateway> {
  const [pid] = given.get("pid") ?? [];
  const [name] = given.get("name") ?? [];
  const directories = runtimeDirectories(process.env);
  const paths = directories.flatMap((directory) =>
    whyNotSafe(directory) === undefined
      ? readdirSync(directory).map((file) => join(directory, file))
      : [],
  );
  const wanted = paths.filter((path) => pid === undefined || basename(path) === `${pid}.sock`);
  const answers = await Promise.all(wanted.map((path) => look(path)));
  const found = answers.filter((answer) => typeof answer === "object");
  const [gateway, ...others] = found.filter(
    ({ status }) => name === undefined || status.name === name,
  );
  if (gateway === undefined) {
    const silent = wanted.find((_, at) => answers[at] === "silent");
    if (silent !== undefined) {
      const seconds = statusLimitMs / 1000;
      const who = `gateway ${basename(silent, ".sock")}`;
      throw new StartError(`${who} runs, and does not answer within ${seconds} s`);
    }
    const which = [pid, name].filter((word) => word !== undefined).join(" ");
    const what = which === "" ? "no gateway of this user runs" : `no gateway ${which} runs`;
    throw new StartError(`${what} (looked in ${directories.join(" and ")})`);
  }
  if (others.length === 0) return gateway;
  const all = [gateway, ...others].map(({ status }) => `${status.pid} ${status.name}`.trim());
  throw new UsageError(
    `several gateways run: choose one of ${all.join(", ")} with --pid or --name`,
  );
}

/** @returns undefined: nobody is there. */
async function look(path: string): Promise<FoundGateway | "silent" | undefined> {
  const status = await send<GatewayStatus>(path, { command: "status" }, statusLimitMs);
  if (status === undefined || status === "silent") return status;
  const ask = async (request: ControlRequest): Promise<object> => {
    const answer = await send<{ readonly error?: string }>(path, request, Infinity);
    if (answer === undefined || answer === "silent") {
      throw new StartError(`gateway ${status.pid} has not answered`);
    }
    if (answer.error !== undefined) throw new StartError(answer.error);
    return answer;
  };
  return { status, ask };
}

/**
 * @returns the answer; undefined when nobody is there: then the socket's file is removed; "silent":
 * somebody is, and does not answer in time.
 */
async function send<Answer>(
  path: string,
  request: ControlRequest,
  limitMs: number,
): Promise<Answer | "silent" | undefined> {
  const chunks: Buffer[] = [];
  const ended = Promise.withResolvers<"silent" | undefined>();
  const late = () => ended.resolve("silent");
  const timer = limitMs === Infinity ? undefined : setTimeout(late, limitMs);
  try {
    await Bun.connect({
      unix: path,
      socket: {
        open: (socket) => void socket.write(`${JSON.stringify(request)}\n`),
        data: (_, chunk) => void chunks.push(Buffer.from(chunk)),
        close: () => ended.resolve(undefined),
        error: () => ended.resolve(undefined),
      },
    });
    if ((await ended.promise) === "silent") return "silent";
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Answer;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") removeStale(path);
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Left behind by a gateway that was killed. (One that goes on as a new program has the file of the
 * program before for a moment, and then one of its own.)
 */
function removeStale(path: string): void {
  if (isAlive(Number(basename(path, ".sock")))) return;
  try {
    unlinkSync(path);
  } catch {
    // somebody else has
  }
}
