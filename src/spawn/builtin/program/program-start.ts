/**
 * How a program is reached, and waiting for it to be ready: it says nothing to us, so it is looked
 * at. Ready is what listens where it was told to; with a path to ask, what answers that with
 * success.
 */
import { SyscallError } from "../../../native/errno.ts";
import { putOnEventLoop } from "../../../native/event-loop.ts";
import { causeText } from "../../../wire/cause.ts";
import { waitForExit } from "../../process-end.ts";
import type { SpawnRequest } from "../../spawner.ts";
import type { InstanceProcess } from "../instance-process.ts";
import type { Ready } from "../lifeline.ts";
import type { LoaderDirectory } from "../loader-files.ts";
import { loaders } from "../loaders.ts";
import { refusalIn, type TimeLimit } from "../readiness.ts";
import type { Progress, StartPlan } from "../start-plan.ts";
import { InheritedWay } from "./inherited-way.ts";
import { listensOn, PortWay } from "./port-way.ts";
import { SocketWay } from "./socket-way.ts";
import type { Way } from "./way.ts";

/** Between two looks: at first as short as a quick program needs, then what costs nothing. */
const firstPauseMs = 5;
const longestPauseMs = 100;
/** For one answer to the path that is asked. */
const answerMs = 5_000;

export interface ProgramStart {
  readonly process: InstanceProcess;
  readonly way: Way;
  readonly request: SpawnRequest;
  readonly plan: StartPlan;
  readonly limit: TimeLimit;
  readonly progress: Progress;
}

/** How an instance of a program will be reached; undefined: it is none. @throws Error. */
export function wayTo(
  { appType, command = [], listen }: SpawnRequest,
  { become }: StartPlan,
  directory: LoaderDirectory,
): Way | undefined {
  if (appType !== "command") return undefined;
  const hasSocket = command.some((word) => word.includes("{socket}"));
  switch (listen ?? (hasSocket ? "socket" : "port")) {
    case "inherit":
      return new InheritedWay(directory.socketPlace());
    case "port":
      return new PortWay();
    case "socket":
      return new SocketWay(directory.programPlace(), become);
  }
}

/** @throws Error (as a rejection): it ended, took too long, or another listens in its place. */
export async function untilProgramReady(start: ProgramStart): Promise<Ready> {
  const { process, way, request, plan, limit, progress } = start;
  const { readyPath, concurrency = loaders.command.usual.concurrency } = request;
  const ready: Ready = { kind: "ready", concurrency, reportsDone: false };
  const owner = { pid: process.pid, uid: plan.user };
  const said = await limit.keep(process.announced);
  // Its lifeline ends without a word when it has become the program.
  if (said?.kind === "failed") throw refusalIn(said, progress);
  const listens = () => Promise.resolve(way.isListening(owner) || "it does not listen");
  await repeat(start, `did not listen on ${way.where}`, listens);
  if (readyPath === undefined) return ready;
  await repeat(start, `did not answer ${readyPath} with success`, () => ask(way, readyPath));
  return ready;
}

/** What it wrote last, for one line of the log. */
const lastLines = 3;
const maxLastCharacters = 300;

/** A failed start with what was run and what that wrote last: all that there is to find out why. */
export function failureOfProgram(cause: unknown, command = "", output = ""): Error {
  const lines = output.trimEnd().split("\n").slice(-lastLines).join(" / ");
  const said = lines === "" ? "nothing" : `'${lines.slice(-maxLastCharacters)}'`;
  const run = command === "" ? "" : `; it was run as '${command}' and wrote ${said} last`;
  return new Error(`${causeText(cause)}${run}`, { cause });
}

/** Tries until there is no reason left why not. @throws Error (as a rejection). */
async function repeat(
  { process, limit }: ProgramStart,
  what: string,
  attempt: () => Promise<true | string>,
): Promise<void> {
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (process.hasEnded) {
      throw new Error(`it ${await process.describeEnd()} and ${what}: it has to stay in front`);
    }
    const outcome = await limit.keep(attempt());
    if (outcome === true) return;
    if (limit.remainingMs === 0) {
      const elsewhere = listensOn(process.pid);
      const hint = elsewhere === "" ? "it listens on no port" : `it listens on ${elsewhere}`;
      throw new Error(`it ${what} within ${limit.limitMs} ms: ${outcome}; ${hint}`);
    }
    await waitForExit(process.gone, Math.min(pauseMs, limit.remainingMs));
  }
}

/** Undefined: nobody listens. Programs that load themselves anew do so again in a moment. */
function connectTo(way: Way): ReturnType<Way["connect"]> | undefined {
  try {
    return way.connect();
  } catch (error) {
    const isGone = error instanceof SyscallError && ["ECONNREFUSED", "ENOENT"].includes(error.code);
    if (isGone) return undefined;
    throw error;
  }
}

/** Asks for the path once. @returns true, or why it is not ready. */
async function ask(way: Way, path: string): Promise<true | string> {
  const stream = connectTo(way);
  if (stream === undefined) return "it does not listen any more";
  if (stream === "full") return "it accepts nothing";
  const { promise, resolve } = Promise.withResolvers<true | string>();
  let text = "";
  const socket = await putOnEventLoop(stream, {
    data: undefined,
    socket: {
      data: (_socket, chunk) => {
        text += Buffer.from(chunk).toString("latin1");
        const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
        if (status?.startsWith("2") === true) resolve(true);
        else if (status !== undefined) resolve(`it answers ${status}`);
        else if (text.length > 16) resolve("it does not speak HTTP/1.1");
      },
      end: () => resolve("it closed without an answer"),
      close: () => resolve("it closed without an answer"),
      error: () => {},
    },
  });
  const host = way.words["host"] === undefined ? "localhost" : way.where;
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const timer = setTimeout(() => resolve(`no answer within ${answerMs} ms`), answerMs);
  const outcome = await promise;
  clearTimeout(timer);
  socket.terminate();
  return outcome;
}
