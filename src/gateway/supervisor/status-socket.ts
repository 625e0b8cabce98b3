/**
 * How a gateway is looked at: a Unix socket of its own, in a directory only its user can enter.
 * Whoever connects and sends a line gets one JSON document and EOF. (Were it sent at once, the end
 * of the connection could come before Bun has told its client that there is one.)
 */
import { chmodSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Socket, UnixSocketListener } from "bun";

import { makeRuntimeDirectory } from "./runtime-directory.ts";
import type { Inspection } from "../../parent/index.ts";

/** What the socket tells. */
export interface GatewayStatus {
  readonly pid: number;
  readonly listening: readonly string[];
  readonly workers: readonly number[];
  /** Null: there is none at the moment. */
  readonly poolServer: number | null;
  readonly applications: readonly { readonly name: string; readonly root: string }[];
  /** Null: the pool server did not answer. */
  readonly pool: Inspection | null;
}

/** A connection of somebody who asks, and what is left to send of the answer. */
interface StatusQuestion {
  rest: Uint8Array;
  isAnswered: boolean;
}

export class StatusSocket {
  readonly #path: string;
  readonly #listener: UnixSocketListener<StatusQuestion>;

  /** @throws Error when the socket cannot be had. */
  constructor(directory: string, status: () => Promise<GatewayStatus>) {
    makeRuntimeDirectory(directory);
    this.#path = join(directory, `${process.pid}.sock`);
    this.#listener = Bun.listen<StatusQuestion>({
      unix: this.#path,
      socket: {
        open: (socket) => {
          socket.data = { rest: new Uint8Array(), isAnswered: false };
        },
        data: (socket) => {
          if (!socket.data.isAnswered) void answer(socket, status);
          socket.data.isAnswered = true;
        },
        drain: (socket) => push(socket),
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

async function answer(
  socket: Socket<StatusQuestion>,
  status: () => Promise<GatewayStatus>,
): Promise<void> {
  socket.data.rest = Buffer.from(`${JSON.stringify(await status())}\n`);
  push(socket);
}

function push(socket: Socket<StatusQuestion>): void {
  const { rest } = socket.data;
  if (rest.length === 0) return;
  socket.data.rest = rest.subarray(Math.max(0, socket.write(rest)));
  if (socket.data.rest.length === 0) socket.end();
}
