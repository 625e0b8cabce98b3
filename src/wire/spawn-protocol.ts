/**
 * The conversation with a 2.0 spawn server: `spawn_application` and `reload` to it; from it
 * `error_page` and a scalar, or `ok`, an array [pid, socketName, abstract] and a descriptor (the
 * owner pipe, which these functions never see). The spawn server runs with other rights than ours:
 * everything it says is checked here for form, and the socket it names is checked again by whoever
 * opens it.
 */

import { appRequestElements, elementAt, parseBoolean, type AppRequest } from "./app-request.ts";
import { encodeArray } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { MAX_PID, parseNumberIn } from "./number.ts";
import { ProtocolError } from "./protocol-error.ts";

/** sun_path has 108 bytes (unix(7)); a path needs its NUL, an abstract name the NUL before it. */
const MAX_SOCKET_NAME_BYTES = 107;

export interface SpawnedInstance {
  readonly pid: number;
  /** A path, or the abstract name without its leading NUL. */
  readonly socketName: ByteString;
  readonly abstract: boolean;
}

export function encodeSpawnApplication(app: AppRequest): Uint8Array {
  return encodeArray([ascii("spawn_application"), ...appRequestElements(app)]);
}

export function encodeReload(root: ByteString): Uint8Array {
  return encodeArray([ascii("reload"), root]);
}

/** What answers `spawn_application`: a scalar follows `error_page`, a SpawnedInstance `ok`. */
export function parseSpawnAnswer(elements: readonly ByteString[]): "ok" | "error_page" {
  const name: string = elementAt(elements, 0);
  if (elements.length === 1 && (name === "ok" || name === "error_page")) return name;
  throw unexpected("spawn server answer", elements);
}

/** The array after `ok`. */
export function parseSpawnedInstance(elements: readonly ByteString[]): SpawnedInstance {
  if (elements.length !== 3) throw unexpected("spawned instance", elements);
  const pid = parseNumberIn(elementAt(elements, 0), "spawned instance: pid", 1, MAX_PID);
  const socketName = elementAt(elements, 1);
  if (socketName.length === 0 || socketName.length > MAX_SOCKET_NAME_BYTES) {
    const shown = escapeForLog(socketName);
    throw new ProtocolError(
      `spawned instance: socket name '${shown}' is not 1 to ${MAX_SOCKET_NAME_BYTES} bytes long`,
    );
  }
  const abstract = parseBoolean(elementAt(elements, 2), "spawned instance: abstract");
  return { pid, socketName, abstract };
}

function unexpected(what: string, elements: readonly ByteString[]): ProtocolError {
  const first = escapeForLog(elementAt(elements, 0));
  return new ProtocolError(`${what}: '${first}' with ${elements.length} elements is none`);
}
