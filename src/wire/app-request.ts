/**
 * What a client says about the application it wants: the six elements that `get`, `getTagged` and
 * the spawn server's `spawn_application` share. Which types and methods there are is the business
 * of whoever makes the instances: words are passed on as they came, and a boolean that is not
 * `true` is false, as in 2.0.
 */

import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

/** The words that the built-in spawner knows. */
export type SpawnMethod = "smart" | "conservative";
export type AppType = "rails" | "rack" | "wsgi" | "asgi" | "bun" | "node" | "command" | "auto";

export interface AppRequest {
  /** Identifies the application, byte for byte. */
  readonly root: ByteString;
  readonly lowerPrivilege: boolean;
  readonly lowestUser: ByteString;
  readonly environment: ByteString;
  /** A SpawnMethod, if the client keeps to the protocol. */
  readonly spawnMethod: SpawnMethod | ByteString;
  /** An AppType, if the client keeps to the protocol. */
  readonly appType: AppType | ByteString;
}

export const APP_REQUEST_ELEMENTS = 6;

/** Reads the six elements from `elements[first]` on; the caller has counted them. */
export function parseAppRequest(elements: readonly ByteString[], first: number): AppRequest {
  return {
    root: elementAt(elements, first),
    lowerPrivilege: isTrue(elementAt(elements, first + 1)),
    lowestUser: elementAt(elements, first + 2),
    environment: elementAt(elements, first + 3),
    spawnMethod: elementAt(elements, first + 4),
    appType: elementAt(elements, first + 5),
  };
}

/** The six elements of `app`. */
export function appRequestElements(app: AppRequest): ByteString[] {
  return [
    app.root,
    ascii(String(app.lowerPrivilege)),
    app.lowestUser,
    app.environment,
    app.spawnMethod as ByteString,
    app.appType as ByteString,
  ];
}

/** Element `index` of a message whose elements have been counted. */
export function elementAt(elements: readonly ByteString[], index: number): ByteString {
  const element = elements[index];
  if (element === undefined) throw new RangeError(`message of ${elements.length} has no ${index}`);
  return element;
}

/** A boolean of a client: anything but `true` is false. */
export function isTrue(element: ByteString): boolean {
  const word: string = element;
  return word === "true";
}

/** A boolean of a reply. @throws ProtocolError: it is neither; the element is called `what`. */
export function parseBoolean(element: ByteString, what: string): boolean {
  if (element === "true") return true;
  if (element === "false") return false;
  throw new ProtocolError(`${what} is '${escapeForLog(element)}', neither 'true' nor 'false'`);
}
