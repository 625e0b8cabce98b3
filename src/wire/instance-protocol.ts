/**
 * What an instance of the built-in spawner says on its lifeline, in both directions: `ready` and
 * its concurrency, or `error_page` followed by a scalar. It says one of them once; from then on
 * only the closing of an end has a meaning.
 *
 * A preloader says the same on its descriptor 4, and goes on: `fork` and what comes of it.
 */

import { elementAt } from "./app-request.ts";
import { encodeArray } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { MAX_PID, parseNumber, parseNumberIn } from "./number.ts";
import { ProtocolError } from "./protocol-error.ts";
import { encodeScalar } from "./scalar-message.ts";

/** The most sessions an instance may offer to serve at once; the same bound as `configure`'s. */
export const MAX_CONCURRENCY = 1_000;

export type LifelineMessage =
  | { readonly kind: "ready"; readonly concurrency: number }
  /** The page follows as a scalar. */
  | { readonly kind: "error_page" };

export function encodeReady(concurrency: number): Uint8Array {
  return encodeArray([ascii("ready"), ascii(String(concurrency))]);
}

/** `error_page` and the page. */
export function encodeLifelineErrorPage(page: Uint8Array): Uint8Array {
  return Buffer.concat([encodeArray([ascii("error_page")]), encodeScalar(page)]);
}

/** The message that the elements of an array message from a lifeline are. */
export function parseLifelineMessage(elements: readonly ByteString[]): LifelineMessage {
  const name: string = elementAt(elements, 0);
  if (name === "ready" && elements.length === 2) {
    const what = "lifeline: concurrency";
    const concurrency = parseNumberIn(elementAt(elements, 1), what, 1, MAX_CONCURRENCY);
    return { kind: "ready", concurrency };
  }
  if (name === "error_page" && elements.length === 1) return { kind: "error_page" };
  throw new ProtocolError(
    `lifeline: '${escapeForLog(elementAt(elements, 0))}' with ${elements.length} elements is` +
      ` neither 'ready' and a number nor 'error_page'`,
  );
}

/** What a preloader says once it is ready. `fork` is the number the server gave to the fork. */
export type PreloaderMessage =
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
    if (name === "forked") {
      const fork = number(1, "fork", 0, Number.MAX_SAFE_INTEGER);
      return { kind: "forked", fork, pid: number(2, "pid", 1, MAX_PID) };
    }
    if (name === "fork_failed") {
      const fork = number(1, "fork", 0, Number.MAX_SAFE_INTEGER);
      return { kind: "fork_failed", fork, message: elementAt(elements, 2) };
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
