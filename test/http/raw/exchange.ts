/**
 * Sends a case and waits until all is as it should be and stays so. A case that is answered rightly
 * takes as long as its silence; one that is not, until patience ends.
 */
import { connect, type Socket } from "node:net";

import { piecesOf, type RawCase, type Reached } from "./case.ts";
import { faultsOf } from "./judge.ts";

/** How long nothing may come before that is taken for the end: after an answer, before one. */
const silenceMs = 250;
const firstSilenceMs = 900;
const patienceMs = 10_000;
const lookMs = 10;

/** @param reached what the application has noted of this client. @returns what is wrong. */
export async function run(
  rawCase: RawCase,
  port: number,
  address: string,
  reached: () => readonly Reached[],
): Promise<string[]> {
  const visitor = new Visitor(port, address);
  try {
    await visitor.send(rawCase);
    const startMs = performance.now();
    for (;;) {
      const { answered, closed } = visitor;
      const faults = faultsOf(rawCase, { answered, closed, reached: reached() }, address);
      const waitedMs = performance.now() - startMs;
      if (faults.length > 0 && waitedMs > patienceMs) return faults;
      const silence = silenceAfter(rawCase, visitor);
      if (faults.length === 0 && performance.now() - visitor.changedMs >= silence) return [];
      await Bun.sleep(lookMs);
    }
  } finally {
    visitor.close();
  }
}

function silenceAfter({ idle }: RawCase, { answered, closed }: Visitor): number {
  if (closed) return lookMs;
  return Math.max((idle ?? 0) * 1000, answered === "" ? firstSilenceMs : silenceMs);
}

class Visitor {
  /** One character per byte. */
  answered = "";
  closed = false;
  changedMs = performance.now();
  readonly #socket: Socket;

  constructor(port: number, address: string) {
    const socket = connect({
      host: "127.0.0.1",
      port,
      localAddress: address,
      allowHalfOpen: true,
      noDelay: true,
    });
    this.#socket = socket;
    const close = (): void => {
      this.closed = true;
      this.changedMs = performance.now();
    };
    socket.on("data", (data: Buffer) => {
      this.answered += data.toString("latin1");
      this.changedMs = performance.now();
    });
    for (const event of ["end", "error", "close"]) socket.on(event, close);
  }

  async send(rawCase: RawCase): Promise<void> {
    for (const { data, pauseMs } of piecesOf(rawCase)) {
      this.#socket.write(data);
      if (pauseMs > 0) await Bun.sleep(pauseMs);
    }
    if (rawCase.half === true) this.#socket.end();
    this.changedMs = performance.now();
  }

  close(): void {
    this.#socket.destroy();
  }
}
