/** Numbers on the wire: decimals, `-?[0-9]+`; no spaces, no `+`, no hexadecimal, not nothing. */

import { escapeForLog, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

/** Linux's PID_MAX_LIMIT on 64 bits: no process id is larger (proc_sys_kernel(5)). */
export const MAX_PID = 2 ** 22;

const DECIMAL = /^-?[0-9]+$/;

/**
 * The number `element` says. One beyond 2^53 loses its last digits and may become infinite: such a
 * number names nothing here. `-0` is 0.
 */
export function parseNumber(element: ByteString, what: string): number {
  if (!DECIMAL.test(element)) {
    throw new ProtocolError(`${what} is '${escapeForLog(element)}', not a number`);
  }
  return Number(element) + 0;
}

/** As parseNumber; a number that is not from `min` to `max` is a ProtocolError, too. */
export function parseNumberIn(element: ByteString, what: string, min: number, max: number): number {
  const value = parseNumber(element, what);
  if (value < min || value > max) {
    throw new ProtocolError(`${what} is ${escapeForLog(element, 40)}, not from ${min} to ${max}`);
  }
  return value;
}
