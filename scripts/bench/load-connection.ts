/**
 * One visitor with a connection that is kept open: asks, waits for the answer, checks every byte of
 * it, asks again. Nothing is repeated and nothing forgiven: a request that does not get its whole
 * right answer has failed, and in which way is counted: also one that the server crosses with the
 * end of a connection of which it has not said so.
 */
import type { Socket } from "bun";

/** What is asked, and the body that the answer must have. */
export interface Question {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: string;
  readonly answer: string;
}

/**
 * `refused`: no connection. `unanswered`: closed without a byte of an answer. `cut`: within one.
 * `wrong`: another body than it should have. `hung`: no answer in time. Else the status.
 */
export type Failure = "refused" | "unanswered" | "cut" | "wrong" | "hung" | `status ${number}`;

/** What many requests came to. */
export class Tally {
  requests = 0;
  longestMs = 0;
  /** Of those that got their whole right answer. */
  readonly timesMs: number[] = [];
  readonly failures = new Map<Failure, number>();

  count(failure: Failure | undefined, tookMs: number): void {
    this.requests += 1;
    this.longestMs = Math.max(this.longestMs, tookMs);
    if (failure === undefined) this.timesMs.push(tookMs);
    else this.failures.set(failure, (this.failures.get(failure) ?? 0) + 1);
  }

  get failed(): number {
    return [...this.failures.values()].reduce((sum, count) => sum + count, 0);
  }
}

const limitMs = 30_000;
/** Before the next try to connect where nobody accepts. */
const refusedPauseMs = 5;

export class LoadConnection {
  readonly #port: number;
  #socket: Socket | undefined;
  #received = "";
  #outcome: ((failure: Failure | undefined) => void) | undefined;
  #expected = "";

  constructor(port: number) {
    this.#port = port;
  }

  /** Asks one question after the other, round and round, until it is over. */
  async run(questions: readonly Question[], isOver: () => boolean, tally: Tally): Promise<void> {
    for (let turn = 0; !isOver(); turn++) {
      const question = questions[turn % questions.length];
      if (question === undefined) break;
      const failure = await this.askOnce(question, tally);
      if (failure === "refused") await Bun.sleep(refusedPauseMs);
    }
    this.leave();
  }

  /** Asks one question. @returns in which way it failed, if it did. */
  async askOnce(question: Question, tally: Tally): Promise<Failure | undefined> {
    const beganMs = performance.now();
    const failure = await this.#ask(question);
    tally.count(failure, performance.now() - beganMs);
    return failure;
  }

  /** Closes the connection. */
  leave(): void {
    this.#socket?.terminate();
  }

  async #ask({ method, path, body, answer }: Question): Promise<Failure | undefined> {
    const socket = this.#socket ?? (await this.#connect());
    if (socket === undefined) return "refused";
    const outcome = Promise.withResolvers<Failure | undefined>();
    this.#received = "";
    this.#expected = answer;
    this.#outcome = outcome.resolve;
    const length = method === "POST" ? `Content-Length: ${body.length}\r\n` : "";
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n${body}`);
    const timer = setTimeout(() => {
      outcome.resolve("hung");
    }, limitMs);
    const failure = await outcome.promise;
    clearTimeout(timer);
    this.#outcome = undefined;
    if (failure !== undefined) this.#forget(socket);
    return failure;
  }

  async #connect(): Promise<Socket | undefined> {
    try {
      this.#socket = await Bun.connect({
        hostname: "127.0.0.1",
        port: this.#port,
        socket: {
          data: (socket, chunk) => this.#receive(socket, chunk),
          close: (socket) => this.#closed(socket),
          error: () => {}, // close follows
        },
      });
      return this.#socket;
    } catch {
      return undefined;
    }
  }

  #receive(socket: Socket, chunk: Buffer): void {
    if (socket !== this.#socket) return;
    this.#received += chunk.toString("latin1");
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.slice(0, end);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
    const body = this.#received.slice(end + 4);
    if (body.length < length) return;
    const status = Number(head.slice(9, 12));
    const isRight = body.length === length && body === this.#expected;
    if (/^connection: close$/im.test(head)) this.#forget(socket);
    if (status !== 200) return this.#outcome?.(`status ${status}`);
    this.#outcome?.(isRight ? undefined : "wrong");
  }

  #closed(socket: Socket): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#outcome?.(this.#received === "" ? "unanswered" : "cut");
  }

  #forget(socket: Socket): void {
    if (socket === this.#socket) this.#socket = undefined;
    socket.end();
  }
}

/**
 * Loads a port by so many connections for a time, or until it is aborted. @returns what their
 * requests came to.
 */
export async function load(
  port: number,
  connections: number,
  questions: readonly Question[],
  time: number | AbortSignal,
  tally = new Tally(),
): Promise<Tally> {
  const endMs = performance.now() + (typeof time === "number" ? time : Infinity);
  const isOver = () => (typeof time === "number" ? performance.now() >= endMs : time.aborted);
  await Promise.all(
    Array.from({ length: connections }, () =>
      new LoadConnection(port).run(questions, isOver, tally),
    ),
  );
  return tally;
}
