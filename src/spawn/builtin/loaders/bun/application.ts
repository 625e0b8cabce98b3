/**
 * What the program gives to Bun.serve, as a Handler. Runs inside instances.
 *
 * A program that only has `fetch` is called in this process. Routes, WebSockets and node:http exist
 * only behind Bun's own server: for them a real one listens on a private Unix socket, whose name is
 * gone before the program can serve, and requests are passed on to it.
 */
import { closeSync, mkdtempSync, openSync, rmdirSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { clientOf } from "./clients.ts";
import { reportUnlessGone, type Handler } from "./session.ts";

/** The options of Bun.serve as far as they matter here. */
export interface ServeOptions {
  readonly fetch?: (this: unknown, request: Request, server: unknown) => unknown;
  readonly error?: (this: unknown, error: unknown) => unknown;
  readonly [option: string]: unknown;
}

export interface Application {
  /** What the program gets back from Bun.serve. */
  readonly server: unknown;
  readonly handler: Handler;
}

/** Options that only Bun's own server honours. */
const needsServer = ["routes", "static", "websocket", "onNodeHTTPRequest"];
/** Options that say where to listen, which is not the program's to decide here. */
const listening = ["port", "hostname", "unix", "tls", "reusePort", "ipv6Only", "fd"];

/** @param leave is called when the program stops its server. */
export function makeApplication(
  options: ServeOptions,
  realServe: (options: ServeOptions) => unknown,
  leave: () => void,
): Application {
  if (needsServer.some((option) => isGiven(options[option]))) {
    return serveBehindSocket(options, realServe);
  }
  return callInProcess(options, leave);
}

/** Bun ignores a list, such as the `routes` that an application of Hono has for itself. */
function isGiven(option: unknown): boolean {
  return option !== undefined && !Array.isArray(option);
}

function callInProcess(first: ServeOptions, leave: () => void): Application {
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
    fetch: async (request: Request | string) =>
      handler(typeof request === "string" ? new Request(request) : request),
    [Symbol.dispose]: leave,
  };
  const handler: Handler = (request) => {
    let answer: unknown;
    try {
      answer = options.fetch?.call(server, request, server);
    } catch (error) {
      return failed(options, server, error);
    }
    // Without a promise it is on its way at once.
    return answer instanceof Response ? answer : later(answer);
  };
  const later = async (answer: unknown): Promise<Response> => {
    try {
      return checked(await answer);
    } catch (error) {
      return failed(options, server, error);
    }
  };
  return { server, handler };
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

function serveBehindSocket(
  options: ServeOptions,
  realServe: (options: ServeOptions) => unknown,
): Application {
  const kept = Object.entries(options).filter(([option]) => !listening.includes(option));
  const directory = mkdtempSync(join(tmpdir(), "application-pool-instance-"));
  const path = join(directory, "http");
  try {
    const server = realServe({ ...Object.fromEntries(kept), unix: path });
    const descriptor = openSync(path, oPath);
    unlinkSync(path);
    process.on("exit", () => closeSync(descriptor));
    return { server, handler: passOnTo(`/proc/self/fd/${descriptor}`) };
  } finally {
    rmdirSync(directory);
  }
}

/** O_PATH of open(2), the same on every architecture; node:fs does not name it. */
const oPath = 0o10000000;

function passOnTo(unix: string): Handler {
  return (request) => {
    const headers = new Headers(request.headers);
    // Bun's fetch would offer encodings on its own that the client may not know.
    if (!headers.has("accept-encoding")) headers.set("accept-encoding", "identity");
    const url = request.url.replace(/^https:/, "http:");
    if (url !== request.url && !headers.has("x-forwarded-proto")) {
      headers.set("x-forwarded-proto", "https");
    }
    return fetch(url, {
      method: request.method,
      headers,
      body: request.body,
      signal: request.signal,
      redirect: "manual",
      decompress: false,
      unix,
      ...(request.body === null ? {} : { duplex: "half" }),
    } as RequestInit);
  };
}
