/**
 * The commands of a client, in both directions, from one table: a command's entry says how many
 * arguments it has, how they are read and how they are written. Kinds are the names on the wire.
 * `configure` and `register` are followed by a scalar (configure.ts, register.ts); who reads the
 * connection pulls it. Errors are ProtocolErrors: `command <name>: <cause>`.
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
import { parseNumber, parseNumberIn } from "./number.ts";
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

/** Commands that are their name alone. */
type PlainKind =
  | "clear"
  | "getActive"
  | "getCount"
  | "getSpawnServerPid"
  | "openDescriptorChannel"
  | "inspect"
  | "admit"
  | "reopenLogs"
  | "ping";

export type Command =
  | { readonly kind: "get"; readonly app: AppRequest }
  | { readonly kind: "getTagged"; readonly tag: ByteString; readonly app: AppRequest }
  /** A tagged get whose session may be kept (PROTOCOL section 11). */
  | { readonly kind: "getKept"; readonly tag: ByteString; readonly app: AppRequest }
  /** The same for a client that would go on with the instance it had, by what it calls it. */
  | {
      readonly kind: "getSticky";
      readonly tag: ByteString;
      readonly token: ByteString;
      readonly app: AppRequest;
    }
  | { readonly kind: "cancel"; readonly tag: ByteString }
  /** The answer to a recall: a request is under way on the session, which is closed after it. */
  | { readonly kind: "keep"; readonly sessionId: number }
  /** Any number: one that is no open session is to be ignored. */
  | { readonly kind: "close"; readonly sessionId: number }
  /** As `close`, and the request is not over: its instance has a time limit from now on. */
  | { readonly kind: "abandon"; readonly sessionId: number; readonly what: ByteString }
  /** As `abandon`, with no time left. */
  | { readonly kind: "overdue"; readonly sessionId: number; readonly what: ByteString }
  /** So many more requests have been sent over the session, which is kept. */
  | { readonly kind: "served"; readonly sessionId: number; readonly requests: number }
  /** The session takes no place of its instance's concurrency any more (PROTOCOL section 9). */
  | { readonly kind: "long"; readonly sessionId: number }
  /** A request of the session takes long: its instance is to show its stacks. */
  | { readonly kind: "slow"; readonly sessionId: number }
  | { readonly kind: "setMax"; readonly max: number }
  | { readonly kind: "setMaxPerApp"; readonly maxPerApp: number }
  | { readonly kind: "setMaxIdleTime"; readonly seconds: number }
  | { readonly kind: "setUseGlobalQueue"; readonly useGlobalQueue: boolean }
  | { readonly kind: "configure"; readonly root: ByteString }
  /** Of the supervisor (PROTOCOL section 12), as are those below and `admit`, `ping`. */
  | { readonly kind: "register"; readonly root: ByteString }
  | { readonly kind: "restart"; readonly root: ByteString }
  | { readonly kind: "detach"; readonly pid: number }
  | { readonly kind: "retire"; readonly root: ByteString }
  | { readonly kind: "unregister"; readonly root: ByteString }
  /** The last output of an application after a line, by its number. */
  | { readonly kind: "recentOutput"; readonly root: ByteString; readonly after: number }
  | { readonly [K in PlainKind]: { readonly kind: K } }[PlainKind];

type Kind = Command["kind"];
type CommandOf<K extends Kind> = Extract<Command, { kind: K }>;

interface Entry<K extends Kind> {
  /** Elements after the name. */
  readonly arity: number;
  /** Reads a message whose elements have been counted; element 0 is the name. */
  readonly parse: (elements: readonly ByteString[]) => CommandOf<K>;
  /** The elements after the name. */
  readonly write: (command: CommandOf<K>) => ByteString[];
}

const table: { readonly [K in Kind]: Entry<K> } = {
  get: {
    arity: APP_REQUEST_ELEMENTS,
    parse: (elements) => ({ kind: "get", app: parseAppRequest(elements, 1) }),
    write: (command) => appRequestElements(command.app),
  },
  getTagged: tagged("getTagged"),
  getKept: tagged("getKept"),
  getSticky: {
    arity: 2 + APP_REQUEST_ELEMENTS,
    parse: (elements) => ({
      kind: "getSticky",
      tag: parseTag(elementAt(elements, 1)),
      token: parseToken(elementAt(elements, 2)),
      app: parseAppRequest(elements, 3),
    }),
    write: ({ tag, token, app }) => [tag, token, ...appRequestElements(app)],
  },
  cancel: {
    arity: 1,
    parse: (elements) => ({ kind: "cancel", tag: parseTag(elementAt(elements, 1)) }),
    write: (command) => [command.tag],
  },
  close: aboutSession("close"),
  keep: aboutSession("keep"),
  long: aboutSession("long"),
  slow: aboutSession("slow"),
  abandon: aboutRequest("abandon"),
  overdue: aboutRequest("overdue"),
  served: {
    arity: 2,
    parse: (elements) => ({
      kind: "served",
      sessionId: parseNumber(elementAt(elements, 1), "sessionId"),
      requests: parseNumberIn(elementAt(elements, 2), "requests", 1, MAX_REQUESTS_TOLD),
    }),
    write: ({ sessionId, requests }) => [decimal(sessionId), decimal(requests)],
  },
  setMax: {
    arity: 1,
    parse: (elements) => ({
      kind: "setMax",
      max: parseNumberIn(elementAt(elements, 1), "n", 1, MAX_POOL_SIZE),
    }),
    write: (command) => [decimal(command.max)],
  },
  setMaxPerApp: {
    arity: 1,
    parse: (elements) => ({
      kind: "setMaxPerApp",
      maxPerApp: parseNumberIn(elementAt(elements, 1), "n", 0, MAX_POOL_SIZE),
    }),
    write: (command) => [decimal(command.maxPerApp)],
  },
  setMaxIdleTime: {
    arity: 1,
    parse: (elements) => ({
      kind: "setMaxIdleTime",
      seconds: parseNumberIn(elementAt(elements, 1), "seconds", 0, MAX_IDLE_SECONDS),
    }),
    write: (command) => [decimal(command.seconds)],
  },
  setUseGlobalQueue: {
    arity: 1,
    parse: (elements) => ({
      kind: "setUseGlobalQueue",
      useGlobalQueue: isTrue(elementAt(elements, 1)),
    }),
    write: (command) => [ascii(String(command.useGlobalQueue))],
  },
  configure: aboutApplication("configure"),
  register: aboutApplication("register"),
  restart: aboutApplication("restart"),
  detach: {
    arity: 1,
    parse: (elements) => ({ kind: "detach", pid: parseNumber(elementAt(elements, 1), "pid") }),
    write: ({ pid }) => [decimal(pid)],
  },
  retire: aboutApplication("retire"),
  unregister: aboutApplication("unregister"),
  recentOutput: {
    arity: 2,
    parse: (elements) => ({
      kind: "recentOutput",
      root: elementAt(elements, 1),
      after: parseNumberIn(elementAt(elements, 2), "after", 0, Number.MAX_SAFE_INTEGER),
    }),
    write: ({ root, after }) => [root, decimal(after)],
  },
  clear: plain("clear"),
  getActive: plain("getActive"),
  getCount: plain("getCount"),
  getSpawnServerPid: plain("getSpawnServerPid"),
  openDescriptorChannel: plain("openDescriptorChannel"),
  inspect: plain("inspect"),
  admit: plain("admit"),
  reopenLogs: plain("reopenLogs"),
  ping: plain("ping"),
};

/** The table by name on the wire: a Map, because a peer may well call its command `constructor`. */
const entries: ReadonlyMap<string, Entry<Kind>> = new Map(
  Object.entries(table) as [string, Entry<Kind>][],
);

/** The command that the elements of an array message are. */
export function parseCommand(elements: readonly ByteString[]): Command {
  const name = elementAt(elements, 0);
  const entry = entries.get(name);
  if (entry === undefined) throw new ProtocolError(`unknown command '${escapeForLog(name)}'`);
  if (elements.length !== entry.arity + 1) {
    const given = elements.length - 1;
    throw new ProtocolError(`command ${name}: it takes ${entry.arity} arguments, not ${given}`);
  }
  try {
    return entry.parse(elements);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(`command ${name}: ${error.message}`, { cause: error });
  }
}

/** The array message of a command. Its values are not checked again: the server will. */
export function encodeCommand<K extends Kind>(command: CommandOf<K>): Uint8Array {
  const kind: K = command.kind;
  const entry: Entry<K> = table[kind];
  return encodeArray([ascii(kind), ...entry.write(command)]);
}

/** A get that others may overtake. */
export type TaggedGet = CommandOf<"getTagged"> | CommandOf<"getKept"> | CommandOf<"getSticky">;

function tagged<K extends "getTagged" | "getKept">(kind: K): Entry<K> {
  const parse = (elements: readonly ByteString[]) => ({
    kind,
    tag: parseTag(elementAt(elements, 1)),
    app: parseAppRequest(elements, 2),
  });
  return { arity: 1 + APP_REQUEST_ELEMENTS, parse, write: writeTagged } as unknown as Entry<K>;
}

function writeTagged({ tag, app }: TaggedGet): ByteString[] {
  return [tag, ...appRequestElements(app)];
}

type AboutSession = CommandOf<"close" | "keep" | "long" | "slow">;

function aboutSession<K extends AboutSession["kind"]>(kind: K): Entry<K> {
  const parse = (elements: readonly ByteString[]) => ({
    kind,
    sessionId: parseNumber(elementAt(elements, 1), "sessionId"),
  });
  const write = ({ sessionId }: AboutSession) => [decimal(sessionId)];
  return { arity: 1, parse, write } as unknown as Entry<K>;
}

type AboutRequest = CommandOf<"abandon"> | CommandOf<"overdue">;

function aboutRequest<K extends AboutRequest["kind"]>(kind: K): Entry<K> {
  const parse = (elements: readonly ByteString[]) => ({
    kind,
    sessionId: parseNumber(elementAt(elements, 1), "sessionId"),
    what: parseWhat(elementAt(elements, 2)),
  });
  const write = ({ sessionId, what }: AboutRequest) => [decimal(sessionId), what];
  return { arity: 2, parse, write } as unknown as Entry<K>;
}

type AboutApplication = CommandOf<"configure" | "register" | "restart" | "retire" | "unregister">;

function aboutApplication<K extends AboutApplication["kind"]>(kind: K): Entry<K> {
  const parse = (elements: readonly ByteString[]) => ({ kind, root: elementAt(elements, 1) });
  const write = ({ root }: AboutApplication) => [root];
  return { arity: 1, parse, write } as unknown as Entry<K>;
}

function plain<K extends PlainKind>(kind: K): Entry<K> {
  const command = { kind } as CommandOf<K>;
  return { arity: 0, parse: () => command, write: () => [] };
}

function decimal(value: number): ByteString {
  if (!Number.isSafeInteger(value)) throw new RangeError(`encode command: ${value} is no integer`);
  return ascii(String(value));
}

function parseTag(element: ByteString): ByteString {
  if (element.length >= 1 && element.length <= MAX_TAG_BYTES) return element;
  throw new ProtocolError(`the tag has ${element.length} bytes, not 1 to ${MAX_TAG_BYTES}`);
}

function parseToken(element: ByteString): ByteString {
  if (element.length <= MAX_TOKEN_BYTES) return element;
  throw new ProtocolError(`the token has ${element.length} bytes, ${MAX_TOKEN_BYTES} at most`);
}

function parseWhat(element: ByteString): ByteString {
  if (element.length <= MAX_REQUEST_BYTES) return element;
  throw new ProtocolError(
    `the request is told in ${element.length} bytes, ${MAX_REQUEST_BYTES} at most`,
  );
}
