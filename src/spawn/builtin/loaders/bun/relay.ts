/**
 * A session of a bun application that Bun's own server serves, behind a private socket: requests go
 * there as HTTP/1.1, on a connection of the session's own, and answers come back from there. Runs
 * inside instances. After a 101 the session is bytes both ways. Neither side is read faster than
 * the other takes it.
 */
import { BadRequest, httpHead, type Head } from "../javascript/head.ts";
import type { Host } from "../javascript/host.ts";
import { InstanceSession } from "../javascript/session.ts";
import { addressLine } from "./clients.ts";
import { Outflow } from "./outflow.ts";
import { RelayedAnswer } from "./relayed-answer.ts";
import { reportUnlessGone, type SocketConnection } from "./session.ts";

const nothing = Buffer.alloc(0);

export class RelayedSession extends InstanceSession<SocketConnection> {
  readonly #path: string;
  readonly #whenSettled: (then: () => void) => void;
  readonly #toClient: Outflow;
  #toServer: Outflow;
  /** The connection with Bun's server; there is one while there are requests to be answered. */
  #server: Bun.Socket | undefined;
  #isConnecting = false;
  #answer: RelayedAnswer | undefined;
  #hasServerEnded = false;

  /**
   * @param path of the socket that Bun's server listens on. @param whenSettled calls once no
   * handler of the program's is under way.
   */
  constructor(
    connection: SocketConnection,
    host: Host,
    path: string,
    whenSettled: (then: () => void) => void,
  ) {
    super(connection, host);
    this.#path = path;
    this.#whenSettled = whenSettled;
    const server = { pause: () => this.#server?.pause(), resume: () => this.#server?.resume() };
    this.#toClient = new Outflow(server, connection);
    this.#toServer = new Outflow(connection);
  }

  protected override begin(head: Head): void {
    if (head.method === "CONNECT") throw new BadRequest("a session cannot become a tunnel");
    const text = httpHead(head, this.isInChunks, moreLines(head));
    const isHead = head.method === "HEAD";
    this.#answer = new RelayedAnswer(isHead, head.isKept, () => this.lastLine());
    if (this.#server === undefined && !this.#isConnecting) void this.#connect();
    this.#toServer.write(Buffer.from(text, "latin1"));
    if (head.upgrade === "") return;
    this.#toServer.write(this.ahead);
    this.ahead = nothing;
  }

  async #connect(): Promise<void> {
    this.#isConnecting = true;
    this.#hasServerEnded = false;
    this.#toServer = new Outflow(this.connection);
    try {
      const socket = await Bun.connect({
        unix: this.#path,
        allowHalfOpen: true,
        socket: {
          data: (_socket, bytes) => this.#fromServer(bytes),
          drain: () => this.#toServer.drained(),
          end: () => this.#serverEnded(),
          close: () => this.#serverEnded(),
          error: () => this.#serverEnded(),
        },
      });
      if (this.state === "closed") return socket.terminate();
      this.#server = socket;
      this.#toServer.connected(socket);
    } catch (error) {
      reportUnlessGone(error);
      this.connection.destroy();
    } finally {
      this.#isConnecting = false;
    }
  }

  #fromServer(bytes: Buffer): void {
    if (this.state === "changed") return this.#toClient.write(bytes);
    const answer = this.#answer;
    if (answer === undefined || this.state !== "answering") return;
    try {
      const said = answer.read(bytes);
      if (answer.status === 101) {
        this.over();
        this.change();
      }
      if (said.length > 0) this.#toClient.write(said);
    } catch (error) {
      reportUnlessGone(error);
      this.#server?.terminate();
      this.connection.destroy();
      return;
    }
    this.#finishIfSent();
  }

  #finishIfSent(): void {
    if (this.#answer?.isWhole !== true || !this.#toClient.isEmpty) return;
    this.#answer = undefined;
    this.answered(true);
  }

  #serverEnded(): void {
    if (this.#hasServerEnded) return;
    this.#hasServerEnded = true;
    this.#server = undefined;
    if (this.state === "changed") this.#toClient.end();
    else if (this.#answer?.isToTheEnd === true) this.answered(false);
    else if (this.#answer !== undefined && !this.#answer.isWhole) this.connection.destroy();
  }

  override data(chunk: Buffer): void {
    if (this.state === "changed") this.#toServer.write(chunk);
    else super.data(chunk);
  }

  override end(): void {
    if (this.state === "changed") this.#toServer.end();
    else super.end();
  }

  /** The session's socket has room again. */
  drained(): void {
    this.#toClient.drained();
    if (this.state === "answering") this.#finishIfSent();
  }

  protected override deliver(bytes: Uint8Array): void {
    if (bytes.length > 0 && !this.#hasServerEnded) this.#toServer.write(this.framed(bytes));
  }

  protected override endBody(): void {
    if (this.isInChunks && !this.#hasServerEnded) this.#toServer.write(this.framed(nothing));
  }

  protected override abort(): void {
    this.connection.destroy();
  }

  /** Bun's server tells the program. */
  protected override gone(wasAnswering: boolean): boolean {
    this.#server?.terminate();
    if (!wasAnswering || !this.host.isSerial) return false;
    this.#whenSettled(() => this.over());
    return true;
  }
}

/** What Bun's server is told beside the head. */
function moreLines(head: Head): string {
  let lines = addressLine(head.remoteAddress, head.remotePort);
  // It wants one.
  if (head.host === "") {
    lines += `host: ${head.serverName === "" ? "localhost" : head.serverName}\r\n`;
  }
  // It has no TLS by which the program could see it.
  if (head.isSecure && !head.headers.includes("x-forwarded-proto")) {
    lines += "x-forwarded-proto: https\r\n";
  }
  return lines;
}
