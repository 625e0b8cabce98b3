/**
 * The instance's end of a session as a test wants it, over a real socket, and the session that goes
 * with it.
 */
import type { Socket } from "bun";
import { socketPair } from "../../src/native/socket.ts";
import { type EventLoopOptions, putOnEventLoop } from "../../src/native/event-loop.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { Session } from "../../src/parent/index.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { MAX_SESSION_HEADER_BYTES } from "../../src/wire/session-headers.ts";
import { until } from "../helpers/condition.ts";
import { parseSessionHeaders } from "../helpers/peer-messages.ts";

export class ScriptedInstance {
  /** What has arrived of the request, headers and all. */
  received = Buffer.alloc(0);
  /** The parent has shut its side down, or is gone. */
  sawEnd = false;
  closed = false;
  #socket!: Socket;
  #drained: (() => void) | undefined;

  /** The instance's end of a session that a scripted server has granted. */
  static async on(end: OwnedFd): Promise<ScriptedInstance> {
    const instance = new ScriptedInstance();
    instance.#socket = await putOnEventLoop(end, instance.#handlers());
    return instance;
  }

  /** A session with a scripted instance; `closedSessions` are those the pool was told of. */
  static async open(): Promise<{
    session: Session;
    instance: ScriptedInstance;
    closedSessions: number[];
  }> {
    const [ours, theirs] = socketPair();
    const closedSessions: number[] = [];
    const session = new Session(77, 3, ours, ({ sessionId }) => closedSessions.push(sessionId));
    const instance = await ScriptedInstance.on(theirs);
    return { session, instance, closedSessions };
  }

  #handlers(): EventLoopOptions<undefined> {
    return {
      data: undefined,
      allowHalfOpen: true,
      socket: {
        data: (_, chunk) => {
          this.received = Buffer.concat([this.received, chunk]);
        },
        drain: () => this.#drained?.(),
        end: () => {
          this.sawEnd = true;
        },
        close: () => {
          this.closed = true;
          this.#drained?.();
        },
        error: () => {},
      },
    };
  }

  /** The next request on a session that is kept: what came before is forgotten. */
  async next(): Promise<{ headers: Record<string, string>; body: string }> {
    const { headers, body } = await this.request();
    this.received = Buffer.alloc(0);
    return { headers: Object.fromEntries(headers) as Record<string, string>, body };
  }

  /** The request once its headers are whole. */
  async request(): Promise<{ headers: string[][]; body: string }> {
    await until("the request's headers", () => this.#parse() !== undefined);
    const parsed = this.#parse();
    if (parsed === undefined) throw new Error("unreachable");
    return parsed;
  }

  /** Waits for this body. */
  async body(expected: string): Promise<void> {
    await until(`a body of ${expected.length} bytes`, () => this.#parse()?.body === expected);
  }

  /** Writes all of it, however slowly it is read. Resolves early when the parent is gone. */
  async write(data: string | Uint8Array): Promise<void> {
    let rest: Uint8Array = Buffer.from(data);
    while (rest.length > 0 && !this.closed) {
      const sent = this.tryWrite(rest);
      rest = rest.subarray(sent);
      if (rest.length === 0) return;
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
  }

  /** Writes what the socket takes at once. */
  tryWrite(data: Uint8Array): number {
    return Math.max(0, this.#socket.write(data));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.terminate();
    this.closed = true;
  }

  #parse(): { headers: string[][]; body: string } | undefined {
    const decoder = new Decoder();
    decoder.push(this.received);
    const payload = decoder.nextScalar(MAX_SESSION_HEADER_BYTES);
    if (payload === undefined) return undefined;
    const headers = parseSessionHeaders(payload).map(([name, value]) => [name, value] as string[]);
    return { headers, body: Buffer.from(decoder.takeRest()).toString("latin1") };
  }
}
