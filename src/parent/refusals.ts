/**
 * From what the server answers, or does not answer any more, to the error a caller gets. Each text
 * names what was tried, on what, and why it failed.
 */
import { escapeForLog, toText } from "../wire/bytes.ts";
import type { Application } from "./application.ts";
import { BusyError, PoolError, PoolIOError, ServerGoneError, SpawnError } from "./errors.ts";
import type { StreamReply } from "./reply-stream.ts";

export type RefusalReply = Extract<StreamReply, { kind: "refusal" }>;

/** Why a connection has ended, as an error for whatever was tried on it. */
export type EndReason = (what: string) => PoolError;

export const closedByServer: EndReason = (what) =>
  new ServerGoneError(
    `${what}: the pool server closed the connection; it ended, or its log says why`,
  );

export const closedHere: EndReason = (what) =>
  new PoolError(`${what}: the connection has been closed on this side`);

export const stoppedReading: EndReason = (what) =>
  new PoolIOError(`${what}: the pool server has stopped reading its commands`);

/** The connection was given up because no answer came. */
export function silent(limitMs: number): EndReason {
  return (what) => new PoolIOError(`${what}: no answer within ${limitMs} ms`);
}

/** The connection had to be given up because of `cause`. */
export function broken(cause: Error): EndReason {
  return (what) => new PoolIOError(`${what}: ${cause.message}`, { cause });
}

/** How messages call a get. */
export function getOf(application: Application): string {
  return `get '${escapeForLog(application.root)}'`;
}

export function refusalError(reply: RefusalReply): PoolError {
  const message = toText(reply.message);
  switch (reply.refusal) {
    case "SpawnException":
      return new SpawnError(message, reply.page);
    case "BusyException":
      return new BusyError(message);
    case "IOException":
      return new PoolIOError(message);
  }
}
