/**
 * What the program gives to Bun.serve, as what answers sessions. Runs inside instances.
 *
 * A program that only has `fetch` is called in this process. Routes, WebSockets and node:http exist
 * only behind Bun's own server: for them a real one listens on a private Unix socket, whose name is
 * gone before the program can serve, and requests are passed on to it (relay.ts).
 */
import type { Host } from "../javascript/host.ts";
import type { InstanceSession } from "../javascript/session.ts";
import {
  clientOf,
  showClientsToNode,
  showClientsToWebSockets,
  whoShow,
  type ClientAddress,
} from "./clients.ts";
import { Handlers } from "./handlers.ts";
import { RelayedSession } from "./relay.ts";
import { CalledSession, reportUnlessGone, type Handler, type SocketConnection } from "./session.ts";

/** The options of Bun.serve as far as they matter here. */
export interface ServeOptions {
  readonly fetch?: (this: unknown, request: Request, server: unknown) => unknown;
  readonly error?: (this: unknown, error: unknown) => unknown;
  readonly [option: string]: unknown;
}

/** What of Bun's Server is changed here. */
export interface RealServer {
  reload(options: ServeOptions): unknown;
  requestIP(request: Request): ClientAddress | null;
  upgrade(request: Request, options?: object): boolean;
}

export type RealServe = (options: ServeOptions) => RealServer;

export interface Program {
  /** What the program gets back from Bun.serve. */
  readonly server: unknown;
  /** A session that it answers the requests of. */
  open(connection: SocketConnection, host: Host): ProgramSession;
}

export interface ProgramSession extends InstanceSession<SocketConnection> {
  /** Its socket has room again. */
  drained(): void;
}

/** Options that only Bun's own server honours. */
const needsServer = ["routes", "static", "websocket", "onNodeHTTPRequest", "maxRequestBodySize"];
/** Options that say where to listen, which is not the program's to decide here. */
const listening = ["port", "hostname", "unix", "tls", "reusePort", "ipv6Only", "fd"];

/** @param leave is called when the program stops its server. */
export function makeProgram(
  options: ServeOptions,
  realServe: RealServe,
  leave: () => void,
): Program {
  if (needsServer.some((option) => isGiven(options[option]))) {
    return serveBehindSocket(options, realServe);
  }
  return callInProcess(options, leave);
}

/** Bun ignores a list, such as the `routes` that an application of Hono has for itself. */
function isGiven(option: unknown): boolean {
  return option !== undefined && !Array.isArray(option);
}

function callInProcess(first: ServeOptions, leave: () => void): Program {
  let options = first;
  if (typeof options.fetch !== "function") {
    throw new TypeError("Bun.serve() needs fetch or routes");
  }
  const server = {
    ...standIn,
    stop: () => {
      leave();
      return Promise.resolve();
    },
    reload: (changed: ServeOptions) => {
      options = { ...options, ...changed };
      return server;
    },
    fetch: (request: Request | string) =>
      new Promise<Response>((resolve) => {
        handler(typeof request === "string" ? new Request(request) : request, resolve);
      }),
    [Symbol.dispose]: leave,
  };
  const handler: Handler = (request, answer) => {
    let given: unknown;
    try {
      given = options.fetch?.call(server, request, server);
    } catch (error) {
      given = failed(options, server, error);
    }
    // Without a promise it is on its way at once.
    if (given instanceof Response) answer(given);
    else void later(given, answer);
  };
  const later = async (given: unknown, answer: (response: Response) => void): Promise<void> => {
    let response: Response;
    try {
      response = checked(await given);
    } catch (error) {
      response = await failed(options, server, error);
    }
    answer(response);
  };
  return { server, open: (connection, host) => new CalledSession(connection, host, handler) };
}

/** The parts of Bun's Server that have an answer without a port. */
const standIn = {
  id: "",
  port: 80,
  hostname: "localhost",
  protocol: "http",
  address: null,
  url: new URL("http://localhost/"),
  development: false,
  pendingRequests: 0,
  pendingWebSockets: 0,
  requestIP: clientOf,
  timeout: () => {},
  upgrade: () => false,
  publish: () => 0,
  subscriberCount: () => 0,
  ref: () => {},
  unref: () => {},
};

function checked(answer: unknown): Response {
  if (answer instanceof Response) return answer;
  throw new TypeError(`fetch returned ${Bun.inspect(answer)}, which is no Response`);
}

async function failed(options: ServeOptions, server: unknown, error: unknown): Promise<Response> {
  if (typeof options.error === "function") {
    try {
      const answer = await options.error.call(server, error);
      if (answer instanceof Response) return answer;
    } catch (second) {
      reportUnlessGone(second);
    }
  }
  reportUnlessGone(error);
  return new Response("Internal Server Error\n", { status: 500 });
}

function serveBehindSocket(options: ServeOptions, realServe: RealServe): Program {
  // Loaded for these programs alone: it takes a third of the runtime's own start.
  const { closeSync, mkdtempSync, openSync, rmdirSync, unlinkSync } =
    process.getBuiltinModule("node:fs");
  const { tmpdir } = process.getBuiltinModule("node:os");
  const directory = mkdtempSync(`${tmpdir()}/application-pool-instance-`);
  const path = `${directory}/http`;
  try {
    const handlers = new Handlers();
    if (isGiven(options["onNodeHTTPRequest"])) showClientsToNode();
    const server = realServe({ ...inside(options, handlers), unix: path });
    const reload = server.reload.bind(server);
    server.reload = (changed) => reload(inside(changed, handlers));
    server.requestIP = clientOf;
    showClientsToWebSockets(server);
    const descriptor = openSync(path, oPath);
    unlinkSync(path);
    process.on("exit", () => closeSync(descriptor));
    const socket = `/proc/self/fd/${descriptor}`;
    const whenSettled = (then: () => void) => handlers.whenSettled(then);
    return {
      server,
      open: (connection, host) => new RelayedSession(connection, host, socket, whenSettled),
    };
  } finally {
    rmdirSync(directory);
  }
}

/** O_PATH of open(2), the same on every architecture; node:fs does not name it. */
const oPath = 0o10000000;

/** The options for a server that only sessions reach. */
function inside(options: ServeOptions, handlers: Handlers): ServeOptions {
  const kept = Object.entries(options).filter(([option]) => !listening.includes(option));
  const { fetch, routes, websocket } = options;
  return {
    ...Object.fromEntries(kept),
    // About clients' connections, which sessions are not.
    idleTimeout: 0,
    ...(fetch !== undefined && { fetch: handlers.wrap(fetch) }),
    ...(routes !== undefined && { routes: handlers.wrap(routes) }),
    ...(typeof websocket === "object" && websocket !== null && { websocket: whoShow(websocket) }),
  } as ServeOptions;
}
