/**
 * How a program is reached, and waiting for it to be ready: it says nothing to us, so it is looked
 * at. Ready is what listens where it was told to.
 */
import { causeText } from "../../../wire/cause.ts";
import type { SpawnRequest } from "../../spawner.ts";
import type { InstanceProcess } from "../instance-process.ts";
import type { Ready } from "../lifeline.ts";
import type { LoaderDirectory } from "../loader-files.ts";
import { loaders } from "../loaders.ts";
import { refusalIn, type TimeLimit } from "../readiness.ts";
import { repeat } from "../ready-path.ts";
import type { Progress, StartPlan } from "../start-plan.ts";
import { InheritedWay } from "./inherited-way.ts";
import { listensOn, PortWay } from "./port-way.ts";
import { SocketWay } from "./socket-way.ts";
import type { Way } from "./way.ts";

interface ProgramStart {
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
  const { concurrency = loaders.command.usual.concurrency } = request;
  const ready: Ready = { kind: "ready", concurrency, reportsDone: false };
  const owner = { pid: process.pid, uid: plan.user };
  const said = await limit.keep(process.lifeline.announced);
  // Its lifeline ends without a word when it has become the program.
  if (said?.kind === "failed") throw refusalIn(said, progress);
  const listens = () => Promise.resolve(way.isListening(owner) || "it does not listen");
  const hint = () => {
    const elsewhere = listensOn(process.pid);
    return elsewhere === "" ? "it listens on no port" : `it listens on ${elsewhere}`;
  };
  await repeat({ process, limit, hint }, `did not listen on ${way.where}`, listens);
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
