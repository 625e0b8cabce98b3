/**
 * The commands of a client, in both directions, from one table: a command's entry says what follows
 * its name. Kinds are the names on the wire. `configure` and `register` are followed by a scalar
 * (configure.ts, register.ts); who reads the connection pulls it. Errors are ProtocolErrors:
 * `command <name>: <cause>`.
 */

import {
  APP_REQUEST_ELEMENTS,
  appRequestElements,
  elementAt,
  isTrue,
  parseAppRequest,
  type AppRequest,
} from "./app-request.ts";
import { encodeArray } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { parseNumberIn } from "./number.ts";
import { ProtocolError } from "./protocol-error.ts";

/** Bounds of the settings, as the protocol names them. */
export const MAX_POOL_SIZE = 100_000;
export const MAX_IDLE_SECONDS = 2 ** 31 - 1;
export const MAX_TAG_BYTES = 32;
/** Enough for an address, and for the key of an instance. */
const MAX_TOKEN_BYTES = 64;
/** What `abandon` and `overdue` may say of a request; enough for a method and most of a path. */
export const MAX_REQUEST_BYTES = 300;

/** What one `served` may tell: more than a client can have sent since the last. */
const MAX_REQUESTS_TOLD = 1_000_000_000;

/** One argument of a command: how many elements it takes, and how they are read and written. */
interface Argument<T> {
  readonly elements: number;
  /** @param at the first of its elements, which have been counted. */
  read(elements: readonly ByteString[], at: number): T;
  write(value: T): ByteString[];
}

const app: Argument<AppRequest> = {
  elements: APP_REQUEST_ELEMENTS,
  read: parseAppRequest,
  write: appRequestElements,
};
const root = bytes("root", 0, Infinity);
const tag = bytes("tag", 1, MAX_TAG_BYTES);
/** What a client would go on with the instance it had by: how it calls that. */
const token = bytes("token", 0, MAX_TOKEN_BYTES);
/** A request, for the log. */
const what = bytes("request", 0, MAX_REQUEST_BYTES);
/** Any number: one that is no open session is to be ignored. */
const sessionId = number("sessionId");
const useGlobalQueue: Argument<boolean> = {
  elements: 1,
  read: (elements, at) => isTrue(elementAt(elements, at)),
  write: (value) => [ascii(String(value))],
};

/** What follows each command's name, in this order. */
const table = {
  get: { app },
  getTagged: { tag, app },
  /** A tagged get whose session may be kept (PROTOCOL section 11). */
  getKept: { tag, app },
  /** The same for a client that would go on with the instance it had. */
  getSticky: { tag, token, app },
  cancel: { tag },
  close: { sessionId },
  /** The answer to a recall: a request is under way on the session, which is closed after it. */
  keep: { sessionId },
  /** As `close`, and the request is not over: its instance has a time limit from now on. */
  abandon: { sessionId, what },
  /** As `abandon`, with no time left. */
  overdue: { sessionId, what },
  /** So many more requests have been sent over the session, which is kept. */
  served: { sessionId, requests: number("requests", 1, MAX_REQUESTS_TOLD) },
  /** The session takes no place of its instance's concurrency any more (PROTOCOL section 9). */
  long: { sessionId },
  /** A request of the session takes long: its instance is to show its stacks. */
  slow: { sessionId },
  setMax: { max: number("n", 1, MAX_POOL_SIZE) },
  setMaxPerApp: { maxPerApp: number("n", 0, MAX_POOL_SIZE) },
  setMaxIdleTime: { seconds: number("seconds", 0, MAX_IDLE_SECONDS) },
  setUseGlobalQueue: { useGlobalQueue },
  configure: { root },
  clear: {},
  getActive: {},
  getCount: {},
  getSpawnServerPid: {},
  openDescriptorChannel: {},
  inspect: {},
  // Of the supervisor (PROTOCOL section 12).
  register: { root },
  restart: { root },
  detach: { pid: number("pid") },
  retire: { root },
  unregister: { root },
  /** The last output of an application after a line, by its number. */
  recentOutput: { root, after: number("after", 0, Number.MAX_SAFE_INTEGER) },
  admit: {},
  reopenLogs: {},
  ping: {},
};

type Table = typeof table;
type ValueOf<A> = A extends Argument<infer T> ? T : never;
type CommandOf<K extends keyof Table> = { readonly kind: K } & {
  readonly [Name in keyof Table[K]]: ValueOf<Table[K][Name]>;
};

export type Command = { [K in keyof Table]: CommandOf<K> }[keyof Table];

/** A get that others may overtake. */
export type TaggedGet = CommandOf<"getTagged"> | CommandOf<"getKept"> | CommandOf<"getSticky">;

interface Entry {
  readonly arity: number;
  readonly named: readonly (readonly [name: string, argument: Argument<unknown>])[];
}

/** The table by name on the wire: a Map, because a peer may well call its command `constructor`. */
const entries: ReadonlyMap<string, Entry> = new Map(
  Object.entries<Readonly<Record<string, Argument<unknown>>>>(table).map(([kind, its]) => {
    const named = Object.entries(its);
    return [kind, { arity: named.reduce((sum, [, { elements }]) => sum + elements, 0), named }];
  }),
);

export function parseCommand(elements: readonly ByteString[]): Command {
  const kind = elementAt(elements, 0);
  const entry = entries.get(kind);
  if (entry === undefined) throw new ProtocolError(`unknown command '${escapeForLog(kind)}'`);
  if (elements.length !== entry.arity + 1) {
    const given = elements.length - 1;
    throw new ProtocolError(`command ${kind}: it takes ${entry.arity} arguments, not ${given}`);
  }
  const command: Record<string, unknown> = { kind };
  let at = 1;
  try {
    for (const [name, argument] of entry.named) {
      command[name] = argument.read(elements, at);
      at += argument.elements;
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(`command ${kind}: ${error.message}`, { cause: error });
  }
  return command as Command;
}

/** The array message of a command. Its values are not checked again: the server will. */
export function encodeCommand(command: Command): Uint8Array {
  const values = command as unknown as Readonly<Record<string, unknown>>;
  const elements = [ascii(command.kind)];
  for (const [name, argument] of entries.get(command.kind)?.named ?? []) {
    elements.push(...argument.write(values[name]));
  }
  return encodeArray(elements);
}

/** A number; `shown` as errors call it. */
function number(shown: string, min = -Infinity, max = Infinity): Argument<number> {
  return {
    elements: 1,
    read: (elements, at) => parseNumberIn(elementAt(elements, at), shown, min, max),
    write: (value) => {
      if (Number.isSafeInteger(value)) return [ascii(String(value))];
      throw new RangeError(`encode command: ${value} is no integer`);
    },
  };
}

function bytes(shown: string, least: number, most: number): Argument<ByteString> {
  return {
    elements: 1,
    read: (elements, at) => {
      const element = elementAt(elements, at);
      if (element.length >= least && element.length <= most) return element;
      throw new ProtocolError(`the ${shown} has ${element.length} bytes, not ${least} to ${most}`);
    },
    write: (value) => [value],
  };
}
