/**
 * A real worker's listener and visits, and one instance that stands for applications, in the test's
 * own process: it notes what reaches it, and answers as the test tells it to.
 */
import { afterEach } from "bun:test";
import type { Socket } from "bun";

import type { AppConfig, GatewayConfig } from "../../src/gateway/config.ts";
import { logFailure } from "../../src/gateway/log/failure-log.ts";
import { Certificates } from "../../src/gateway/worker/tls.ts";
import type { Origin } from "../../src/gateway/policy/forwarded.ts";
import type { VisitRecord } from "../../src/gateway/worker/visit-record.ts";
import { Site } from "../../src/gateway/worker/site.ts";
import { Visitors } from "../../src/gateway/worker/visitors.ts";
import { putOnEventLoop } from "../../src/native/event-loop.ts";
import { listenPath, listenTcp, localAddress } from "../../src/native/listening-socket.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { socketPair } from "../../src/native/socket.ts";
import { Session } from "../../src/parent/session.ts";
import type { SessionWaiter } from "../../src/parent/session-line.ts";
import { SessionStream } from "../../src/parent/session-stream.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { MAX_SESSION_HEADER_BYTES } from "../../src/wire/session-headers.ts";
import { parseSessionHeaders } from "../helpers/peer-messages.ts";

/** The places of an application with nothing but `public/`. */
export function publicOf(root: string): AppConfig["files"] {
  return [{ path: "/", directory: `${root}/public`, within: root }];
}

export function app(name: string, changes: Partial<AppConfig> = {}): AppConfig {
  return {
    name,
    root: `/nonexistent/${name}`,
    hosts: [],
    prefix: "/",
    type: "rack",
    environment: "production",
    spawnMethod: "smart",
    options: { spawnTimeoutMs: 20_000, weight: 1 },
    sticky: "off",
    files: [],
    bufferRequests: true,
    bufferAnswers: true,
    showErrors: false,
    ...changes,
  };
}

export function configOf(changes: Partial<GatewayConfig> = {}): GatewayConfig {
  return {
    name: "",
    listen: [],
    tls: undefined,
    admin: undefined,
    workers: 1,
    workerUser: undefined,
    apps: [app("main")],
    limits: {
      maxHeaderBytes: 16 * 1024,
      maxBodyBytes: 64 * 1024,
      headMs: 30_000,
      idleMs: 60_000,
      queueMs: 0,
      responseMs: 0,
    },
    pool: { max: 6, maxPerApp: 0, maxIdleSeconds: 60, maxQueue: 0, globalQueue: true },
    trustedProxies: [],
    accessLog: "off",
    accessLogFile: undefined,
    drainMs: 1000,
    silenceMs: 10_000,
    upgradedMs: 1000,
    logLevel: 0,
    logFormat: "text",
    ...changes,
  };
}

/** One request as an application gets it. */
export interface Reached {
  readonly app: string;
  readonly method: string;
  readonly target: string;
  /** By their names as HTTP has them, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** One character per byte. */
  readonly body: string;
}

/** What the application answers; undefined: 200 and `reached`. */
export type Behave = (
  request: Reached,
  /** Resolves when the session ends. */
  gone: Promise<void>,
) => Answered | undefined | Promise<Answered | undefined>;

/** An answer, or its bytes as the instance sends them, one character per byte. */
type Answered = Response | string;

type Listen = { readonly unix: string } | { readonly tls: GatewayConfig["tls"] };

/** Streams of one request each. */
const keeper = { freed: (stream: SessionStream) => stream.close(), closed: () => {} };

export class Gateway {
  readonly port: number;
  readonly reached: Reached[] = [];
  readonly done: ReturnType<typeof recordOf>[] = [];
  /** Lines of its own log, level first. */
  readonly logged: string[] = [];
  readonly log = {
    event: (level: number, event: string, fields: Record<string, string | number>): void => {
      this.logged.push(`${level} ${event} ${fields["status"]} ${fields["id"]} ${fields["cause"]}`);
    },
    error: (event: string, fields: Record<string, string>): void => {
      this.logged.push(`error ${event} ${fields["cause"]}`);
    },
  };
  behave: Behave = () => undefined;
  /** If it is set, no request gets a session: this is why. */
  refusal: unknown;
  /** Until it is settled, nobody gets a session. */
  held: Promise<void> = Promise.resolve();
  readonly #visitors: Visitors;
  readonly #secure: boolean;
  readonly #waiting = new Set<SessionWaiter>();

  constructor(config: GatewayConfig, listen?: Listen) {
    const site = new Site({
      config,
      link: this,
      onDone: (visit) => this.done.push(recordOf(visit)),
      onFailure: (error, visit) => logFailure(this.log, error, visit),
    });
    this.#visitors = new Visitors(site, 1000);
    const isUnix = listen !== undefined && "unix" in listen;
    const [socket] = isUnix
      ? [listenPath(listen.unix)]
      : listenTcp({ kind: "tcp", host: "127.0.0.1", port: 0 }, 1);
    if (socket === undefined) throw new Error("no listening socket");
    const address = localAddress(socket.number);
    this.port = address !== undefined && "port" in address ? address.port : 0;
    const tls = listen !== undefined && "tls" in listen ? listen.tls : undefined;
    this.#secure = tls !== undefined;
    this.#visitors.listen(socket, tls === undefined ? undefined : new Certificates(tls));
  }

  url(path: string): string {
    return `${this.#secure ? "https" : "http"}://127.0.0.1:${this.port}${path}`;
  }

  /** Connections of visitors. */
  get connections(): number {
    return this.#visitors.size;
  }

  stop(): void {
    this.#visitors.close();
  }

  /** For visits. */
  take(to: AppConfig, waiter: SessionWaiter): void {
    if (this.refusal !== undefined) return waiter.fail(this.refusal);
    const [ours, theirs] = socketPair();
    const stream = new SessionStream(new Session(1, 1, ours, () => {}), keeper, true);
    this.#waiting.add(waiter);
    void this.#serve(to, waiter, stream, theirs);
  }

  /** For visits: with no session to be had, it would be asked again. */
  get isClosed(): boolean {
    return this.refusal !== undefined;
  }

  /** For visits. */
  leave(_: AppConfig, waiter: SessionWaiter): void {
    this.#waiting.delete(waiter);
  }

  async #serve(to: AppConfig, waiter: SessionWaiter, stream: SessionStream, theirs: OwnedFd) {
    await stream.open();
    const instance = new StandIn(async (reached, gone) => {
      this.reached.push({ app: to.name, ...reached });
      return (await this.behave({ app: to.name, ...reached }, gone)) ?? new Response("reached");
    });
    await putOnEventLoop(theirs, { data: instance, socket: StandIn.handlers, allowHalfOpen: true });
    await this.held;
    if (this.#waiting.delete(waiter)) waiter.serve(stream, performance.now());
    else stream.close();
  }
}

/** A record that stays as it is. */
export function recordOf(visit: VisitRecord): VisitRecord & Origin {
  const { origin, receivedMs, method, target, app: to } = visit;
  const { queueMs, pid, status, bytes, failure } = visit;
  const asked = { ...origin, origin, receivedMs, method, target, app: to };
  return { ...asked, queueMs, pid, status, bytes, failure };
}

type Answering = (reached: Omit<Reached, "app">, gone: Promise<void>) => Promise<Answered>;

/** The instance's end of one session. */
class StandIn {
  readonly #answer: Answering;
  readonly #decoder = new Decoder();
  readonly #gone = Promise.withResolvers<void>();
  #variables: Map<string, string> | undefined;
  #body = "";
  #isAsked = false;
  /** Of the answer. */
  #rest: Uint8Array = new Uint8Array();

  static readonly handlers = {
    data: (socket: Socket<StandIn>, bytes: Buffer) => socket.data.#received(socket, bytes),
    drain: (socket: Socket<StandIn>) => socket.data.#push(socket),
    end: (socket: Socket<StandIn>) => void socket.end(),
    close: (socket: Socket<StandIn>) => socket.data.#gone.resolve(),
    error: () => {},
  };

  constructor(answer: Answering) {
    this.#answer = answer;
  }

  #received(socket: Socket<StandIn>, bytes: Buffer): void {
    if (this.#variables === undefined) {
      this.#decoder.push(bytes);
      const block = this.#decoder.nextScalar(MAX_SESSION_HEADER_BYTES);
      if (block === undefined) return;
      this.#variables = new Map(parseSessionHeaders(block));
      this.#body = Buffer.from(this.#decoder.takeRest()).toString("latin1");
    } else {
      this.#body += bytes.toString("latin1");
    }
    const length = Number(this.#variables.get("CONTENT_LENGTH") ?? 0);
    if (this.#isAsked || this.#body.length < length) return;
    this.#isAsked = true;
    void this.#respond(socket, this.#variables);
  }

  async #respond(socket: Socket<StandIn>, variables: ReadonlyMap<string, string>): Promise<void> {
    const method = variables.get("REQUEST_METHOD") ?? "";
    const target = variables.get("REQUEST_URI") ?? "";
    const headers = headersOf(variables);
    const reached = { method, target, headers, body: this.#body };
    const answer = await this.#answer(reached, this.#gone.promise);
    this.#rest = typeof answer === "string" ? Buffer.from(answer, "latin1") : await bytesOf(answer);
    this.#push(socket);
  }

  #push(socket: Socket<StandIn>): void {
    if (this.#rest.length === 0) return;
    this.#rest = this.#rest.subarray(Math.max(0, socket.write(this.#rest)));
  }
}

async function bytesOf(answer: Response): Promise<Buffer> {
  const body = Buffer.from(await answer.arrayBuffer());
  const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}\r\n`);
  // Response adds a type that nobody gave.
  const given = lines.filter((line) => !line.startsWith("content-type: text/plain;charset"));
  const length = `Content-Length: ${body.length}\r\n`;
  const head = `Status: ${answer.status}\r\n${given.join("")}${length}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

function headersOf(variables: ReadonlyMap<string, string>): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of variables) {
    const plain = /^(?:HTTP_(.*)|(CONTENT_.*))$/.exec(name);
    const header = plain?.[1] ?? plain?.[2];
    if (header !== undefined) headers[header.toLowerCase().replaceAll("_", "-")] = value;
  }
  return headers;
}

/** To be called once at the top of a test file. */
export function gateways(): (changes?: Partial<GatewayConfig>, listen?: Listen) => Gateway {
  const started: Gateway[] = [];
  afterEach(() => {
    for (const gateway of started.splice(0)) gateway.stop();
  });
  return (changes = {}, listen) => {
    const gateway = new Gateway(configOf(changes), listen);
    started.push(gateway);
    return gateway;
  };
}
