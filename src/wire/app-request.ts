/**
 * What a client says about the application it wants: the six elements that `get`, `getTagged` and
 * the spawn server's `spawn_application` share. Values outside the lists of the protocol are
 * errors: guessing that a strange `lowerPrivilege` means `false` would run the application with
 * more rights than asked for.
 */

import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

export type SpawnMethod = "smart" | "conservative";
export type AppType = "rails" | "rack" | "wsgi" | "bun" | "node" | "auto";

export interface AppRequest {
  /** Identifies the application, byte for byte. */
  readonly root: ByteString;
  readonly lowerPrivilege: boolean;
  readonly lowestUser: ByteString;
  readonly environment: ByteString;
  readonly spawnMethod: SpawnMethod;
  readonly appType: AppType;
}

/** How many elements an AppRequest has on the wire. */
export const APP_REQUEST_ELEMENTS = 6;

/** Reads the six elements from `elements[first]` on; the caller has counted them. */
export function parseAppRequest(elements: readonly ByteString[], first: number): AppRequest {
  return {
    root: elementAt(elements, first),
    lowerPrivilege: parseBoolean(elementAt(elements, first + 1), "lowerPrivilege"),
    lowestUser: elementAt(elements, first + 2),
    environment: elementAt(elements, first + 3),
    spawnMethod: parseSpawnMethod(elementAt(elements, first + 4)),
    appType: parseAppType(elementAt(elements, first + 5)),
  };
}

/** The six elements of `app`. */
export function appRequestElements(app: AppRequest): ByteString[] {
  return [
    app.root,
    ascii(String(app.lowerPrivilege)),
    app.lowestUser,
    app.environment,
    ascii(app.spawnMethod),
    ascii(app.appType),
  ];
}

/** Element `index` of a message whose elements have been counted. */
export function elementAt(elements: readonly ByteString[], index: number): ByteString {
  const element = elements[index];
  if (element === undefined) throw new RangeError(`message of ${elements.length} has no ${index}`);
  return element;
}

/** `true` or `false`; anything else is a ProtocolError that calls the element `what`. */
export function parseBoolean(element: ByteString, what: string): boolean {
  if (element === "true") return true;
  if (element === "false") return false;
  throw new ProtocolError(`${what} is '${escapeForLog(element)}', neither 'true' nor 'false'`);
}

function parseSpawnMethod(element: ByteString): SpawnMethod {
  const method: string = element;
  if (method === "smart" || method === "conservative") return method;
  const shown = escapeForLog(element);
  throw new ProtocolError(`spawnMethod is '${shown}', neither 'smart' nor 'conservative'`);
}

function parseAppType(element: ByteString): AppType {
  const type: string = element;
  switch (type) {
    case "rails":
    case "rack":
    case "wsgi":
    case "bun":
    case "node":
    case "auto":
      return type;
    default:
      throw new ProtocolError(
        `appType is '${escapeForLog(element)}', none of rails, rack, wsgi, bun, node, auto`,
      );
  }
}
