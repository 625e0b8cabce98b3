/**
 * How a gateway is looked at and changed while it runs: a Unix socket of its own, in a directory
 * that only its user can enter. Whoever connects sends one line, a request in JSON, and gets one
 * line and EOF. The kernel says who connects: only root and the gateway's own user are answered.
 * (Were an answer sent before a request has come, the end of the connection could come before Bun
 * has told its client that there is one.)
 */
import { chmodSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Socket, UnixSocketListener } from "bun";

import { fdOf } from "../../native/event-loop.ts";
import { peerUser } from "../../native/peer.ts";
import { causeText } from "../../wire/cause.ts";
import { type ControlRequest, parseControlRequest } from "./control-request.ts";
import { makeRuntimeDirectory } from "./runtime-directory.ts";

/** Far more than a request needs. */
const maxRequestBytes = 16 * 1024;
/** Who sends no request, or takes no answer, for so long is gone; whole seconds, as Bun counts. */
const silentSeconds = 10;

/** A connection of somebody who asks, and what is left to send of the answer. */
interface Question {
  request: Buffer;
  rest: Uint8Array;
  isAnswered: boolean;
  /** Aborted when nobody waits for the answer any more. */
  readonly asker: AbortController;
}

/**
 * Carries a request out. @param asker aborted when nobody waits for it any more. @returns what is
 * answered, as JSON. @throws Error: why it cannot be.
 */
export type CarryOut = (request: ControlRequest, asker: AbortSignal) => Promise<object>;

export class ControlSocket {
  readonly #path: string;
  readonly #listener: UnixSocketListener<Question>;

  /** @throws Error when the socket cannot be had. */
  constructor(directory: string, carryOut: CarryOut) {
    makeRuntimeDirectory(directory);
    this.#path = join(directory, `${process.pid}.sock`);
    this.#listener = Bun.listen<Question>({
      unix: this.#path,
      // Who shuts his side down after the request (nc, socat) is answered all the same.
      allowHalfOpen: true,
      socket: {
        open: (socket) => {
          const asker = new AbortController();
          const nothing = { request: Buffer.alloc(0), rest: new Uint8Array(), isAnswered: false };
          socket.data = { ...nothing, asker };
          socket.timeout(silentSeconds);
        },
        data: (socket, chunk) => receive(socket, chunk, carryOut),
        drain: (socket) => push(socket),
        end: (socket) => {
          if (!socket.data.isAnswered) socket.end();
        },
        timeout: (socket) => socket.terminate(),
        close: ({ data }) => data.asker.abort(),
        error: () => {}, // close follows
      },
    });
    chmodSync(this.#path, 0o600);
    this.#listener.unref();
  }

  close(): void {
    this.#listener.stop(true);
    try {
      unlinkSync(this.#path);
    } catch {
      // gone already
    }
  }
}

function receive(socket: Socket<Question>, chunk: Buffer, carryOut: CarryOut): void {
  const question = socket.data;
  if (question.isAnswered) return;
  question.request = Buffer.concat([question.request, chunk]);
  const end = question.request.indexOf("\n");
  if (end < 0 && question.request.length <= maxRequestBytes) return;
  question.isAnswered = true;
  socket.timeout(0);
  void answer(socket, question.request.subarray(0, Math.max(0, end)), carryOut);
}

async function answer(socket: Socket<Question>, line: Buffer, carryOut: CarryOut): Promise<void> {
  let reply: object;
  try {
    const user = peerUser(fdOf(socket));
    if (user !== 0 && user !== process.geteuid?.()) throw new Error("it is another user's gateway");
    reply = await carryOut(parseControlRequest(line.toString("utf8")), socket.data.asker.signal);
  } catch (error) {
    reply = { error: causeText(error) };
  }
  socket.data.rest = Buffer.from(`${JSON.stringify(reply)}\n`);
  socket.timeout(silentSeconds);
  push(socket);
}

function push(socket: Socket<Question>): void {
  const { rest } = socket.data;
  if (rest.length === 0) return;
  socket.data.rest = rest.subarray(Math.max(0, socket.write(rest)));
  if (socket.data.rest.length === 0) socket.end();
}
