/**
 * A client as the protocol describes it and no more: bytes out, bytes in, descriptors where they
 * are due. It never blocks, never reads past the message at hand, and takes what it is told without
 * interpretation, so that tests see what is on the wire.
 */
import { receiveDescriptor } from "../../src/native/descriptors.ts";
import { libc } from "../../src/native/libc.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { receive, send } from "../../src/native/socket.ts";
import { encodeArray } from "../../src/wire/array-message.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import type { Inspection } from "../../src/wire/inspection.ts";
import { patienceMs, until } from "./condition.ts";

/** What a `get` asks for beside the application; as on the wire. */
export interface GetOptions {
  readonly lowerPrivilege?: string;
  readonly lowestUser?: string;
  readonly environment?: string;
  readonly spawnMethod?: string;
  readonly appType?: string;
}

/** A session as its client holds it. */
export interface RawSession {
  readonly pid: number;
  readonly id: string;
  readonly stream: OwnedFd;
}

/** The elements of a `get` after its name. */
export function appElements(root: string, options: GetOptions = {}): string[] {
  const { lowerPrivilege = "false", lowestUser = "nobody", environment = "production" } = options;
  const { spawnMethod = "smart", appType = "rack" } = options;
  return [root, lowerPrivilege, lowestUser, environment, spawnMethod, appType];
}

/** One array message; elements are given as latin1, one character a byte. */
export function frame(...elements: string[]): Uint8Array {
  return encodeArray(elements as ByteString[]);
}

/**
 * Turns of the event loop before a wait begins to sleep: an answer of this process is there by
 * then.
 */
const eagerTurns = 20;

/** Waits until `attempt` answers something other than `empty`. */
async function ready<T>(what: () => string, attempt: () => T | "empty"): Promise<T> {
  const end = performance.now() + patienceMs;
  for (let tries = 0; ; tries += 1) {
    const answer = attempt();
    if (answer !== "empty") return answer;
    if (performance.now() > end) throw new Error(`waited ${patienceMs} ms for ${what()}`);
    if (tries < eagerTurns) await new Promise((resolve) => setImmediate(resolve));
    else await Bun.sleep(1);
  }
}

/** Exactly `length` bytes of a stream, as latin1. @throws Error when it ends before. */
export async function readExactly(stream: number, length: number): Promise<string> {
  let text = "";
  while (text.length < length) {
    const missing = () => `${length} bytes (so far: ${JSON.stringify(text.slice(-1000))})`;
    const piece = await ready(missing, () => receive(stream, length - text.length));
    if (piece === "end") throw new Error(`the end came after ${JSON.stringify(text)}`);
    text += Buffer.from(piece).toString("latin1");
  }
  return text;
}

/** Everything up to the end of a stream, as latin1. */
export async function readToEnd(stream: number): Promise<string> {
  let text = "";
  for (;;) {
    const piece = await ready(
      () => "the end of a stream",
      () => receive(stream, 65_536),
    );
    if (piece === "end") return text;
    text += Buffer.from(piece).toString("latin1");
  }
}

/** Sends all bytes, waiting for room where it must. */
export async function sendAll(socket: number, data: Uint8Array): Promise<void> {
  let rest = data;
  while (rest.length > 0) {
    rest = rest.subarray(send(socket, rest));
    if (rest.length > 0) await Bun.sleep(1);
  }
}

/** The next descriptor on a socket. */
export async function nextDescriptor(socket: number): Promise<OwnedFd> {
  const got = await ready(
    () => "a descriptor",
    () => receiveDescriptor(socket),
  );
  if (got === "end") throw new Error("the end came instead of a descriptor");
  return got;
}

export class RawClient {
  readonly #fd: OwnedFd;
  readonly #held: OwnedFd[] = [];
  #channel: OwnedFd | undefined;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  get fd(): number {
    return this.#fd.number;
  }

  /** The descriptor channel, once it was asked for. */
  get channel(): OwnedFd {
    if (this.#channel === undefined) throw new Error("no descriptor channel");
    return this.#channel;
  }

  /** Sends one array message; waits only for room. */
  async send(...elements: string[]): Promise<void> {
    await this.sendBytes(frame(...elements));
  }

  async sendBytes(data: Uint8Array): Promise<void> {
    await sendAll(this.fd, data);
  }

  /** The elements of the next array message. */
  async receive(): Promise<string[]> {
    const header = await readExactly(this.fd, 2);
    const length = header.charCodeAt(0) * 256 + header.charCodeAt(1);
    const text = await readExactly(this.fd, length);
    if (!text.endsWith("\0")) throw new Error(`an array without its last NUL: ${text}`);
    return text.slice(0, -1).split("\0");
  }

  /** The next scalar message, as latin1. */
  async receiveScalar(): Promise<string> {
    const header = Buffer.from(await readExactly(this.fd, 4), "latin1");
    return readExactly(this.fd, header.readUInt32BE());
  }

  /** Sends a command and returns the elements of its reply. */
  async ask(...elements: string[]): Promise<string[]> {
    await this.send(...elements);
    return this.receive();
  }

  /** The one number a command is answered with. */
  async number(command: "getActive" | "getCount" | "getSpawnServerPid"): Promise<number> {
    const [text, ...more] = await this.ask(command);
    if (more.length > 0 || !/^[0-9]+$/.test(text ?? "")) throw new Error(`${command}: ${text}`);
    return Number(text);
  }

  async sendGet(root: string, options: GetOptions = {}): Promise<void> {
    await this.send("get", ...appElements(root, options));
  }

  /**
   * The session that the next reply announces. @throws Error with the reply when it is a refusal.
   */
  async receiveSession(): Promise<RawSession> {
    const reply = await this.receive();
    const [ok, pid = "", id = ""] = reply;
    if (ok !== "ok" || reply.length !== 3) throw new Error(`get was answered ${reply.join("|")}`);
    const stream = this.keep(await nextDescriptor(this.#channel?.number ?? this.fd));
    return { pid: Number(pid), id, stream };
  }

  async get(root: string, options: GetOptions = {}): Promise<RawSession> {
    await this.sendGet(root, options);
    return this.receiveSession();
  }

  /** Gives a session back: our end of it first, as clients do. */
  async closeSession(session: RawSession): Promise<void> {
    session.stream.close();
    await this.send("close", session.id);
  }

  /** The descriptor channel is opened and used from now on. */
  async openChannel(): Promise<void> {
    const reply = await this.ask("openDescriptorChannel");
    if (reply.join("|") !== "ok") throw new Error(`the channel was answered ${reply.join("|")}`);
    this.#channel = this.keep(await nextDescriptor(this.fd));
  }

  /** The pool's snapshot. */
  async inspect(): Promise<Inspection> {
    await this.send("inspect");
    return JSON.parse(await this.receiveScalar()) as Inspection;
  }

  /** Waits until so many gets wait in the pool. */
  async untilWaiting(count: number): Promise<void> {
    await until(`${count} gets wait`, async () => (await this.inspect()).waiting === count);
  }

  /** Waits until `getCount` answers this. */
  async untilCount(count: number): Promise<void> {
    await until(
      `there are ${count} instances`,
      async () => (await this.number("getCount")) === count,
    );
  }

  /** A descriptor that is closed with the client. */
  keep(fd: OwnedFd): OwnedFd {
    this.#held.push(fd);
    return fd;
  }

  /** Ends our writing; what the server has still to say can be read. */
  halfClose(): void {
    libc.shutdown(this.fd, 1); // SHUT_WR
  }

  /** The rest of what the server has to say, when it ends the connection. */
  async end(): Promise<string> {
    try {
      return await readToEnd(this.fd);
    } catch (error) {
      // The server closed with bytes of ours unread: the end all the same.
      if (error instanceof Error && error.message.includes("ECONNRESET")) return "";
      throw error;
    }
  }

  /** Closes the connection alone; channel and streams stay open. */
  hangUp(): void {
    this.#fd.close();
  }

  /**
   * Disconnects: connection, channel and sessions' streams at once, as a process does that dies.
   */
  close(): void {
    this.#fd.close();
    for (const fd of this.#held) fd.close();
  }
}

/**
 * Sends `text` over a session to an echoing instance and returns what comes back: `<pid> <text>`.
 */
export async function exchange(session: RawSession, text: string): Promise<string> {
  await sendAll(session.stream.number, Buffer.from(text, "latin1"));
  return readExactly(session.stream.number, `${session.pid} ${text}`.length);
}

/** A duplicate of another process's descriptor (pidfd_open(2), pidfd_getfd(2)). */
export function takeDescriptor(pid: number, descriptor: number): OwnedFd {
  using process = new OwnedFd(Number(libc.syscall(434, pid, 0, 0, 0, 0)));
  return new OwnedFd(Number(libc.syscall(438, process.number, descriptor, 0, 0, 0)));
}
