/**
 * What the other sides say and read: spawn servers, instances, and servers to their clients. The
 * server has no use for these; tests play those parts with them.
 */
import {
  APP_REQUEST_ELEMENTS,
  elementAt,
  parseAppRequest,
  type AppRequest,
} from "../../src/wire/app-request.ts";
import { encodeArray } from "../../src/wire/array-message.ts";
import { ascii, escapeForLog, fromBytes, type ByteString } from "../../src/wire/bytes.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { spawnExceptionParts } from "../../src/wire/replies.ts";
import { encodeHeaderBlock, type Header } from "../../src/wire/session-headers.ts";
import type { SpawnedInstance } from "../../src/wire/spawn-protocol.ts";

export type SpawnServerCommand =
  | { readonly kind: "spawn_application"; readonly app: AppRequest }
  | { readonly kind: "reload"; readonly root: ByteString };

/** What a spawn server is asked to do. */
export function parseSpawnServerCommand(elements: readonly ByteString[]): SpawnServerCommand {
  const name: string = elementAt(elements, 0);
  if (name === "spawn_application" && elements.length === 1 + APP_REQUEST_ELEMENTS) {
    return { kind: name, app: parseAppRequest(elements, 1) };
  }
  if (name === "reload" && elements.length === 2) {
    return { kind: name, root: elementAt(elements, 1) };
  }
  const first = escapeForLog(elementAt(elements, 0));
  const count = `${elements.length} elements`;
  throw new ProtocolError(`spawn server command: '${first}' with ${count} is none`);
}

export function encodeSpawnOk(): Uint8Array {
  return encodeArray([ascii("ok")]);
}

export function encodeSpawnedInstance(instance: SpawnedInstance): Uint8Array {
  return encodeArray([
    ascii(String(instance.pid)),
    instance.socketName,
    ascii(String(instance.abstract)),
  ]);
}

export function encodeReady(concurrency: number, reportsDone: boolean): Uint8Array {
  const words = [ascii("ready"), ascii(String(concurrency))];
  return encodeArray(reportsDone ? [...words, ascii("done")] : words);
}

export function encodeDone(sessions: number): Uint8Array {
  return encodeArray([ascii("done"), ascii(String(sessions))]);
}

/** `SpawnException` and its page, if there is one. */
export function encodeSpawnException(
  message: ByteString,
  page?: Uint8Array,
  tag?: ByteString,
): Uint8Array {
  return Buffer.concat(spawnExceptionParts(message, page, tag));
}

/**
 * The bytes before a request's body. A RangeError if a part holds a NUL.
 */
export function encodeSessionHeaders(headers: Iterable<Header>): Uint8Array {
  const block = encodeHeaderBlock(headers);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(block.length);
  return Buffer.concat([size, Buffer.from(block, "latin1")]);
}

/** The headers in `payload`, the bytes after the size. */
export function parseSessionHeaders(payload: Uint8Array): Header[] {
  if (payload.length === 0) return [];
  if (payload.at(-1) !== 0) {
    throw new ProtocolError(`session headers of ${payload.length} bytes: the last NUL is missing`);
  }
  const parts = fromBytes(payload, 0, payload.length - 1).split("\0") as ByteString[];
  if (parts.length % 2 !== 0) {
    throw new ProtocolError(`session headers: ${parts.length} parts, a name lacks its value`);
  }
  const headers: Header[] = [];
  for (let index = 0; index < parts.length; index += 2) {
    const [name, value] = [parts[index], parts[index + 1]];
    if (name === undefined || value === undefined) break;
    if (name === "") throw new ProtocolError(`session headers: header ${index / 2} has no name`);
    headers.push([name, value]);
  }
  return headers;
}
