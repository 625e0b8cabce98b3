/**
 * A pool server as a test wants it: the real protocol over real sockets, every answer given by the
 * test. The server side of the wake socket and of the connections is on Bun's loop (no descriptors
 * arrive there).
 */
import { sendDescriptor } from "../../src/native/descriptors.ts";
import { duplicate } from "../../src/native/fd.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { shutdown, socketPair } from "../../src/native/socket.ts";
import { putOnEventLoop } from "../../src/native/event-loop.ts";
import { attachPoolServer, type PoolAccess, type PoolConnection } from "../../src/parent/index.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { parseCommand, type Command } from "../../src/wire/commands.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { encodeOk, encodePlainOk } from "../../src/wire/replies.ts";
import type { Socket } from "bun";
import { until } from "../helpers/condition.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** The server's side of one connection. */
export class PeerConnection {
  /** Commands not yet taken by the test. */
  readonly commands: Command[] = [];
  /** Requests that it was told of; each is told before its session is closed. */
  served = 0;
  /** The JSON of each `configure`. */
  readonly scalars: string[] = [];
  closed = false;
  readonly #decoder = new Decoder();
  #awaitsScalar = false;
  #socket!: Socket<PeerConnection>;
  #number = -1;
  #channel: OwnedFd | undefined;

  static async on(fd: OwnedFd): Promise<PeerConnection> {
    const connection = new PeerConnection();
    connection.#number = fd.number;
    connection.#socket = await putOnEventLoop(fd, {
      data: connection,
      socket: {
        data: (_, chunk) => connection.#receive(chunk),
        close: () => connection.#close(),
        error: () => {},
      },
    });
    return connection;
  }

  /** The next command, which has to be of this kind. */
  async take<K extends Command["kind"]>(kind: K): Promise<CommandOf<K>> {
    await until(`a command ${kind}`, () => this.commands.length > 0 || this.closed);
    const command = this.commands.shift();
    if (command?.kind !== kind) throw new Error(`expected ${kind}, got ${JSON.stringify(command)}`);
    return command as CommandOf<K>;
  }

  /** Answers a tagged get. @returns the instance's end of the session. */
  grant(tag: string, pid: number, sessionId: number): OwnedFd {
    const [theirs, instance] = socketPair();
    this.sendOnChannel(theirs);
    this.reply(encodeOk(pid, sessionId, ascii(tag)));
    return instance;
  }

  sendOnChannel(fd: OwnedFd): void {
    if (this.#channel === undefined) throw new Error("no channel is open");
    if (!sendDescriptor(this.#channel.number, fd.number)) throw new Error("the channel is full");
    fd.close();
  }

  reply(bytes: Uint8Array): void {
    const sent = this.#socket.write(bytes);
    if (sent !== bytes.length) throw new Error(`sent ${sent} of ${bytes.length} bytes`);
  }

  /** Sends bytes cut at the given place, as two pieces that arrive apart. */
  async replyCut(bytes: Uint8Array, at: number): Promise<void> {
    this.reply(bytes.subarray(0, at));
    await Bun.sleep(1);
    this.reply(bytes.subarray(at));
  }

  /** Reads no further command until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** As a server that dies: the connection is gone in both directions. */
  die(): void {
    this.#socket.end();
    this.#close();
  }

  #receive(chunk: Buffer): void {
    this.#decoder.push(chunk);
    for (;;) {
      if (this.#awaitsScalar) {
        const scalar = this.#decoder.nextScalar(1 << 20);
        if (scalar === undefined) return;
        this.#awaitsScalar = false;
        this.scalars.push(Buffer.from(scalar).toString());
      }
      const elements = this.#decoder.nextArray();
      if (elements === undefined) return;
      const command = parseCommand(elements);
      if (command.kind === "openDescriptorChannel") this.#openChannel();
      else if (command.kind === "served") this.served += command.requests;
      else this.commands.push(command);
      this.#awaitsScalar = command.kind === "configure";
    }
  }

  #openChannel(): void {
    const [ours, theirs] = socketPair();
    this.reply(encodePlainOk());
    sendDescriptor(this.#number, theirs.number);
    theirs.close();
    this.#channel = ours;
  }

  #close(): void {
    this.closed = true;
    this.#channel?.close();
  }
}

/** The server as a whole: the other end of a wake socket. */
export class ScriptedPeer implements Disposable {
  readonly connections: PeerConnection[] = [];
  /** Wake bytes that came. */
  wakes = 0;
  /** Whether wake bytes are answered. */
  answers = true;
  readonly #parent: OwnedFd;
  #number = -1;
  #socket: Socket | undefined;

  private constructor(parent: OwnedFd) {
    this.#parent = parent;
  }

  static async start(): Promise<ScriptedPeer> {
    const [parent, server] = socketPair();
    const peer = new ScriptedPeer(parent);
    peer.#number = server.number;
    peer.#socket = await putOnEventLoop(server, {
      data: undefined,
      socket: { data: (_, chunk) => peer.#wake(chunk.length), error: () => {} },
    });
    return peer;
  }

  /** A parent's access to it; as many as wanted. */
  attach(): PoolAccess {
    return attachPoolServer(duplicate(this.#parent.number).take());
  }

  /** One connection and the server's side of it. */
  async connect(): Promise<{ pool: PoolConnection; peer: PeerConnection }> {
    await using access = this.attach();
    const pool = await access.connect();
    const peer = this.connections.at(-1);
    if (peer === undefined) throw new Error("no connection was made");
    return { pool, peer };
  }

  /** As a server that dies. */
  die(): void {
    this.#socket?.end();
    for (const connection of this.connections) connection.die();
  }

  [Symbol.dispose](): void {
    this.die();
    if (!this.#parent.open) return;
    shutdown(this.#parent.number);
    this.#parent.close();
  }

  #wake(count: number): void {
    this.wakes += count;
    for (let i = 0; i < count && this.answers; i += 1) {
      const [ours, theirs] = socketPair();
      sendDescriptor(this.#number, theirs.number);
      theirs.close();
      void PeerConnection.on(ours).then((connection) => this.connections.push(connection));
    }
  }
}
