/**
 * Finds a gateway that runs, by its control socket in the runtime directory, and asks it. Root
 * finds those of other users, too, where none of his own is meant.
 */
import { readdirSync, unlinkSync } from "node:fs";
import { basename, join } from "node:path";
import type { SocketHandler } from "bun";
import type { ArgDef } from "citty";

import type { ControlRequest } from "../gateway/supervisor/control-request.ts";
import type { GatewayStatus } from "../wire/gateway-status.ts";
import { runtimeDirectories, whyNotSafe } from "../gateway/supervisor/runtime-directory.ts";
import { putOnEventLoop } from "../native/event-loop.ts";
import { inTime } from "../native/in-time.ts";
import { findUserById, isAlive } from "../native/process.ts";
import { type ForeignSocket, foreignSockets } from "./foreign-gateways.ts";
import { type Arguments, option } from "./options.ts";
import { harmless } from "./terminal.ts";
import { StartError, UsageError } from "./usage-error.ts";

/** Which gateway is meant: options of every command that asks one. */
export const gatewayOptions = {
  pid: option("PID", "of the gateway, if several run"),
  name: option("NAME", "of the gateway, if several run"),
} as const;

/** What the words of commands are. */
const meanings: Readonly<Record<string, string>> = {
  APP: "the application's name, as status shows it",
  PID: "the process's number, as status --app shows it",
  KEY: "one of those, as [pool] has it",
  VALUE: "what [pool] would say",
};

/** A word that has to be given, as citty shows it with --help. */
export function wordOf(name: string): ArgDef {
  return { type: "positional", required: true, description: meanings[name] ?? "" };
}

/** A gateway that takes longer does not say what it does. */
const statusLimitMs = 5000;
/** More than the status of a thousand applications, and the last lines of one. */
const maxAnswerBytes = 8 * 1024 * 1024;

/** A gateway that answers. */
export interface FoundGateway {
  /** Of its process, as its socket says. */
  readonly pid: number;
  /** Whose it is, if it is another user's: then what it says may be anything. */
  readonly user: string | undefined;
  readonly status: GatewayStatus;
  /** @returns the answer. @throws StartError: why it was not done, or that nobody answers. */
  ask(request: ControlRequest): Promise<object>;
}

/** One that is there and does not say what it is. */
type SilentGateway = Pick<FoundGateway, "pid" | "user">;

/** A socket file that a gateway may listen on. */
type Place = { readonly path: string; readonly pid: number } | ForeignSocket;

/** The one gateway that answers, or that of a process or name. @throws UsageError, StartError. */
export async function findGateway(given: Arguments["given"]): Promise<FoundGateway> {
  const [pid] = given.get("pid") ?? [];
  const [name] = given.get("name") ?? [];
  const number = pid === undefined ? undefined : processNumber(pid, "--pid: ");
  const directories: string[] = runtimeDirectories(process.env);
  // Own ones come first: one that is silent may be that which is meant.
  const own = await lookAt(ownPlaces(directories, number), name);
  const isRoot = process.geteuid?.() === 0;
  const isOwn = own.found.length + own.silent.length > 0 || !isRoot;
  const { found, silent } = isOwn ? own : await lookAt(foreignSockets(number), name);
  const [gateway] = found;
  if (gateway !== undefined && isAlone(found, silent)) return gateway;
  if (found.length > 0 || silent.length > 1) throw several([...found, ...silent]);
  const [mute] = silent;
  if (mute !== undefined) {
    const who = `gateway ${mute.pid}${ofUser(mute)}`;
    throw new StartError(`${who} runs, and does not answer within ${statusLimitMs / 1000} s`);
  }
  const which = [pid, name].filter((word) => word !== undefined).join(" ");
  const whose = isRoot ? "" : " of this user";
  const what = which === "" ? `no gateway${whose} runs` : `no gateway ${which} runs`;
  if (isRoot) directories.push("those of all users");
  throw new StartError(`${what} (looked in ${directories.join(" and ")})`);
}

/** @param where it is said, for the message. @throws UsageError. */
export function processNumber(text: string, where = ""): number {
  if (/^[1-9][0-9]{0,9}$/.test(text)) return Number(text);
  throw new UsageError(`${where}'${text}' is no process number`);
}

/** Of one's own gateways one that answers is enough: whoever is silent is no stranger. */
function isAlone(found: readonly FoundGateway[], silent: readonly SilentGateway[]): boolean {
  return found.length === 1 && (found[0]?.user === undefined || silent.length === 0);
}

function ownPlaces(directories: readonly string[], pid: number | undefined): Place[] {
  const paths = directories.flatMap((directory) =>
    whyNotSafe(directory) === undefined
      ? readdirSync(directory).map((file) => join(directory, file))
      : [],
  );
  const places = paths.map((path) => ({ path, pid: Number(basename(path, ".sock")) }));
  return places.filter((place) => pid === undefined || place.pid === pid);
}

async function lookAt(
  places: readonly Place[],
  name: string | undefined,
): Promise<{ readonly found: FoundGateway[]; readonly silent: SilentGateway[] }> {
  const answers = await Promise.all(places.map((place) => look(place)));
  const there = answers.filter((answer) => answer !== undefined);
  const found = there.filter((one) => "status" in one);
  return {
    found: found.filter(({ status }) => name === undefined || status.name === name),
    silent: there.filter((one) => !("status" in one)),
  };
}

function several(gateways: readonly (FoundGateway | SilentGateway)[]): UsageError {
  const all = gateways.map((one) => {
    const name = "status" in one ? shortened(one.status.name) : "(does not answer)";
    return `${one.pid}${name === "" ? "" : ` ${name}`}${ofUser(one)}`;
  });
  return new UsageError(
    `several gateways run: choose one of ${all.join(", ")} with --pid or --name`,
  );
}

/** A name as whoever claims it gives it, in one line. */
function shortened(name: string): string {
  return harmless(name.slice(0, 100)).replaceAll("\n", " ");
}

/** ` of shop`; empty: it is of who asks. */
export function ofUser({ user }: SilentGateway): string {
  return user === undefined ? "" : ` of ${user}`;
}

/** @returns undefined: nobody is there. */
async function look(place: Place): Promise<FoundGateway | SilentGateway | undefined> {
  const { pid } = place;
  const status = await send<GatewayStatus>(place, { command: "status" }, statusLimitMs);
  const user = "uid" in place ? (findUserById(place.uid)?.name ?? `user ${place.uid}`) : undefined;
  if (status === "silent") return { pid, user };
  if (typeof status?.name !== "string") return undefined;
  const ask = async (request: ControlRequest): Promise<object> => {
    const isBounded = user !== undefined && request.command === "status";
    const limitMs = isBounded ? statusLimitMs : Infinity;
    const answer = await send<{ readonly error?: unknown }>(place, request, limitMs);
    if (typeof answer !== "object" || answer === null) {
      throw new StartError(`gateway ${pid} has not answered`);
    }
    if (typeof answer.error === "string") throw new StartError(harmless(answer.error));
    return answer;
  };
  return { pid, user, status, ask };
}

/**
 * @returns the answer; undefined when nobody is there: then the socket's file is removed; "silent":
 * somebody is, and does not answer in time.
 */
async function send<Answer>(
  place: Place,
  request: ControlRequest,
  limitMs: number,
): Promise<Answer | "silent" | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const ended = Promise.withResolvers<undefined>();
  const socket: SocketHandler<undefined> = {
    data: (from, chunk) => {
      chunks.push(Buffer.from(chunk));
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) from.terminate();
    },
    close: () => ended.resolve(undefined),
    error: () => ended.resolve(undefined),
  };
  try {
    const connection = await connect(place, socket);
    if (connection === undefined || connection === "silent") return connection;
    connection.write(`${JSON.stringify(request)}\n`);
    const end = await inTime(ended.promise, limitMs, () => "silent" as const);
    connection.terminate();
    if (end === "silent") return end;
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Answer;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ECONNREFUSED" && "path" in place) removeStale(place);
    return undefined;
  }
}

async function connect(place: Place, socket: SocketHandler<undefined>) {
  if ("path" in place) return Bun.connect({ unix: place.path, data: undefined, socket });
  const stream = place.connect();
  if (stream === "full") return "silent";
  return stream && putOnEventLoop(stream, { data: undefined, socket });
}

/**
 * Left behind by a gateway that was killed. (One that goes on as a new program has the file of the
 * program before for a moment, and then one of its own.)
 */
function removeStale({ path, pid }: { readonly path: string; readonly pid: number }): void {
  if (isAlive(pid)) return;
  try {
    unlinkSync(path);
  } catch {
    // somebody else has
  }
}
