/**
 * Asking an instance for a path until it answers with success: only then is it ready. Each request
 * has a session of its own, in the form that the instance reads. What it is still at is not ready,
 * or its word that it is done would be taken for that of a visitor's session.
 */
import { SyscallError } from "../../native/errno.ts";
import { putOnEventLoop } from "../../native/event-loop.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { endOfAnswerHead } from "../../wire/answer-head.ts";
import { ascii } from "../../wire/bytes.ts";
import { decodePath } from "../../wire/cgi.ts";
import type { ReadinessOptions } from "../../wire/configure.ts";
import { encodeHeaderBlock, framedVariables } from "../../wire/session-headers.ts";
import { waitForExit } from "../process-end.ts";
import type { InstanceProcess } from "./instance-process.ts";
import type { Ready } from "./lifeline.ts";
import { TimeLimit } from "./readiness.ts";

/** Between two looks: at first as short as a quick program needs, then what costs nothing. */
const firstPauseMs = 5;
const longestPauseMs = 100;
/** For one answer. */
const answerMs = 5_000;
/** Of an answer's head; a longer one is no answer to a question so short. */
const maxHeadBytes = 64 * 1024;
/** An answer may be endless, or in bytes: after so many pieces there is a pause behind each. */
const quickPieces = 16;
const pieceMs = 5;

interface Awaited {
  readonly process: InstanceProcess;
  readonly limit: TimeLimit;
  /** What else is known of its failure, for people. */
  readonly hint?: () => string;
}

/** @throws Error (as a rejection): it ended, or did not answer so in time. */
export async function untilAnswered(
  { process, limit }: Awaited,
  { reportsDone }: Ready,
  { readyPath, readyHost = "localhost", readyTimeoutMs = Infinity }: ReadinessOptions,
): Promise<void> {
  if (readyPath === undefined) return;
  const own = new TimeLimit(Math.round(Math.min(readyTimeoutMs, limit.remainingMs)));
  let why: string | undefined;
  const ask = async () => {
    const outcome = await askOnce(process, readyPath, readyHost, own);
    if (outcome !== true) {
      // The last is cut short by the end of the time: an earlier one says more.
      if (why === undefined || own.remainingMs > 0) why = outcome;
      return why;
    }
    if (!reportsDone) return true;
    process.hear();
    return process.isDone || "it is still at earlier requests";
  };
  const what = `did not answer ${readyPath} with success`;
  await limit.unlessCut(repeat({ process, limit: own }, what, ask));
}

/**
 * Tries until there is no reason left why not. @param attempt ends in time by itself. @throws Error
 * (as a rejection).
 */
export async function repeat(
  { process, limit, hint }: Awaited,
  what: string,
  attempt: () => Promise<true | string>,
): Promise<void> {
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (process.hasEnded) {
      const front = process.speaksHttp ? ": it has to stay in front" : "";
      throw new Error(`it ${await process.describeEnd()} and ${what}${front}`);
    }
    const outcome = await limit.unlessCut(attempt());
    if (outcome === true) return;
    if (limit.remainingMs === 0) {
      const more = hint === undefined ? "" : `; ${hint()}`;
      throw new Error(`it ${what} within ${limit.limitMs} ms: ${outcome}${more}`);
    }
    await waitForExit(process.death, Math.min(pauseMs, limit.remainingMs));
  }
}

/** Undefined: nobody listens. Programs that load themselves anew do so again in a moment. */
function connectTo(process: InstanceProcess): OwnedFd | "full" | undefined {
  try {
    return process.connect();
  } catch (error) {
    const isGone = error instanceof SyscallError && ["ECONNREFUSED", "ENOENT"].includes(error.code);
    if (isGone) return undefined;
    throw error;
  }
}

/** @returns true, or why it is not ready. */
async function askOnce(
  process: InstanceProcess,
  path: string,
  host: string,
  limit: TimeLimit,
): Promise<true | string> {
  const stream = connectTo(process);
  if (stream === undefined) return "it does not listen any more";
  if (stream === "full") return "it accepts nothing";
  const { promise, resolve } = Promise.withResolvers<void>();
  const answer = new Answer();
  let pieces = 0;
  const socket = await putOnEventLoop(stream, {
    data: undefined,
    socket: {
      data: (from, chunk) => {
        const isKnown = answer.take(chunk);
        if ((pieces += 1) > quickPieces) {
          from.pause();
          setTimeout(() => from.resume(), pieceMs);
        }
        // The others are done only when their session has ended.
        if (process.speaksHttp && isKnown) resolve();
      },
      end: () => resolve(),
      close: () => resolve(),
      error: () => {},
    },
  });
  socket.write(process.speaksHttp ? httpHead(path, host) : cgiHead(path, host));
  const ms = Math.round(Math.min(answerMs, limit.remainingMs));
  const hasEnded = await waitForExit(promise, ms);
  socket.terminate();
  return hasEnded ? answer.judge() : `no whole answer within ${ms} ms`;
}

function httpHead(path: string, host: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
}

function cgiHead(path: string, host: string): Uint8Array {
  const [before = "", query = ""] = path.split(/\?(.*)/s);
  const variables = {
    REQUEST_METHOD: "GET",
    REQUEST_URI: path,
    SCRIPT_NAME: "",
    PATH_INFO: decodePath(before),
    QUERY_STRING: query,
    SERVER_PROTOCOL: "HTTP/1.1",
    SERVER_NAME: host,
    SERVER_PORT: "80",
    REMOTE_ADDR: "127.0.0.1",
    HTTP_HOST: host,
  };
  const headers = Object.entries(variables).map(
    ([name, value]) => [ascii(name), ascii(value)] as const,
  );
  const { head } = framedVariables(encodeHeaderBlock(headers), false, 0, false);
  return Buffer.from(head, "latin1");
}

/** The beginning of an answer, as it comes; each byte is looked at once, however they come. */
class Answer {
  readonly #bytes = Buffer.alloc(maxHeadBytes);
  #length = 0;
  /** Where its last head begins, and up to where an end of it was looked for. */
  #start = 0;
  #looked = 0;
  #status: string | undefined;

  /** @returns whether nothing that may come would change what it is. */
  take(chunk: Uint8Array): boolean {
    const part = chunk.subarray(0, maxHeadBytes - this.#length);
    this.#bytes.set(part, this.#length);
    this.#length += part.length;
    while (this.#status === undefined) {
      const came = this.#bytes.subarray(this.#start, this.#length);
      const end = endOfAnswerHead(came, this.#looked);
      this.#looked = came.length;
      if (end === undefined) return this.#length === maxHeadBytes;
      const status = statusOf(came.toString("latin1", 0, end.head));
      this.#start += end.body;
      this.#looked = 0;
      // What only announces it is not the answer (RFC 9110, 15.2).
      if (!status.startsWith("1")) this.#status = status;
    }
    return true;
  }

  judge(): true | string {
    const status = this.#status;
    if (this.#length === 0) return "it closed without an answer";
    if (status === undefined || status === "") return "it answers without a status";
    return status.startsWith("2") || `it answers ${status}`;
  }
}

/** In HTTP's form or in that of CGI (RFC 3875, 6.3.3); empty: there is none. */
function statusOf(head: string): string {
  return /^(?:HTTP\/1\.[01]|Status:) ?(\d{3})/im.exec(head)?.[1] ?? "";
}
