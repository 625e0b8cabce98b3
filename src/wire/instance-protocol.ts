/**
 * What an instance of the built-in spawner says on its lifeline, in both directions: `ready` and
 * its concurrency, or `error_page` followed by a scalar. It says one of them once; from then on
 * only the closing of an end has a meaning.
 */

import { elementAt } from "./app-request.ts";
import { encodeArray } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { parseNumberIn } from "./number.ts";
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
