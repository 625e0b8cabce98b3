/**
 * What an instance of the built-in spawner says on its lifeline and hears there: `ready` and its
 * concurrency, or `error_page` followed by a scalar; one of them, once.
 * Then, if its `ready` promised it, `done` and how many of its sessions are over. It is told
 * `stack`, and to leave by the closing of the server's end.
 *
 * A preloader says the same at its start, and goes on: `fork` and what comes of it.
 */

import { elementAt } from "./app-request.ts";
import { encodeArray } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { MAX_PID, parseNumber, parseNumberIn } from "./number.ts";
import { ProtocolError } from "./protocol-error.ts";
import { encodeScalar } from "./scalar-message.ts";

/** The most sessions an instance may offer to serve at once; the same bound as `configure`'s. */
export const MAX_CONCURRENCY = 100_000;

type LifelineMessage =
  /** `reportsDone`: the instance will say `done` for each of its sessions. */
  | { readonly kind: "ready"; readonly concurrency: number; readonly reportsDone: boolean }
  /** So many accepted connections are over for the instance: it does nothing for them any more. */
  | { readonly kind: "done"; readonly sessions: number }
  /** The page follows as a scalar. */
  | { readonly kind: "error_page" };

/** The server asks for the stacks of what is running, on the instance's standard error. */
export function encodeStack(): Uint8Array {
  return encodeArray([ascii("stack")]);
}

export function encodeErrorPage(page: Uint8Array): Uint8Array {
  return Buffer.concat([encodeArray([ascii("error_page")]), encodeScalar(page)]);
}

/** The message that the elements of an array message from a lifeline are. */
export function parseLifelineMessage(elements: readonly ByteString[]): LifelineMessage {
  const name: string = elementAt(elements, 0);
  const number = (what: string, max: number) =>
    parseNumberIn(elementAt(elements, 1), `lifeline: ${what}`, 1, max);
  const reportsDone = elements.length === 3 && (elementAt(elements, 2) as string) === "done";
  if (name === "ready" && (elements.length === 2 || reportsDone)) {
    return { kind: "ready", concurrency: number("concurrency", MAX_CONCURRENCY), reportsDone };
  }
  if (name === "done" && elements.length === 2) {
    return { kind: "done", sessions: number("sessions", Number.MAX_SAFE_INTEGER) };
  }
  if (name === "error_page" && elements.length === 1) return { kind: "error_page" };
  throw new ProtocolError(
    `lifeline: '${escapeForLog(elementAt(elements, 0))}' with ${elements.length} elements is` +
      ` neither 'ready' and a number nor 'done' and a number nor 'error_page'`,
  );
}

/** What a preloader says once it is ready. `fork` is the number the server gave to the fork. */
type PreloaderMessage =
  | { readonly kind: "forked"; readonly fork: number; readonly pid: number }
  | { readonly kind: "fork_failed"; readonly fork: number; readonly message: ByteString }
  /** `status` as of waitpid(2): the exit code, or minus the number of the signal. */
  | { readonly kind: "exited"; readonly pid: number; readonly status: number };

/** `fork` n; three descriptors follow: listener, lifeline, output. */
export function encodeFork(fork: number): Uint8Array {
  return encodeArray([ascii("fork"), ascii(String(fork))]);
}

/** The message that the elements of an array message from a preloader are. */
export function parsePreloaderMessage(elements: readonly ByteString[]): PreloaderMessage {
  const name: string = elementAt(elements, 0);
  if (elements.length === 3) {
    const number = (index: number, what: string, min: number, max: number) =>
      parseNumberIn(elementAt(elements, index), `preloader: ${what}`, min, max);
    if (name === "forked" || name === "fork_failed") {
      const fork = number(1, "fork", 0, Number.MAX_SAFE_INTEGER);
      if (name === "fork_failed") return { kind: name, fork, message: elementAt(elements, 2) };
      return { kind: name, fork, pid: number(2, "pid", 1, MAX_PID) };
    }
    if (name === "exited") {
      const status = parseNumber(elementAt(elements, 2), "preloader: status");
      return { kind: "exited", pid: number(1, "pid", 1, MAX_PID), status };
    }
  }
  throw new ProtocolError(
    `preloader: '${escapeForLog(elementAt(elements, 0))}' with ${elements.length} elements is` +
      ` neither 'forked' nor 'fork_failed' nor 'exited'`,
  );
}
