/** A visitor that sends bytes as they are, and looks at what comes back, byte for byte. */
import { connect } from "node:net";

import { patienceMs } from "../helpers/condition.ts";

/**
 * What a visitor does: sends bytes (one per character), waits for so many milliseconds, closes its
 * side, or waits until the text given has come.
 */
export type Step =
  string | { readonly waitMs: number } | { readonly until: string } | { readonly close: "writing" };

export interface Exchanged {
  /** One character per byte, without the Date header. */
  readonly answered: string;
  /** Whether the server closed the connection; if not, it was open when `until` was over. */
  readonly closed: boolean;
}

/**
 * Takes the steps, then waits until the server closes the connection, or, if that is given, until
 * the answer holds `enough`. @throws Error when neither happens: it hangs.
 */
export function exchange(
  port: number,
  steps: readonly Step[],
  enough?: string,
  withinMs = patienceMs,
): Promise<Exchanged> {
  const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let answered = "";
  let changed = Promise.withResolvers<void>();
  const end = (closed: boolean): void => {
    clearTimeout(timer);
    changed.resolve();
    socket.destroy();
    resolve({ answered: answered.replaceAll(/Date: [^\r]*\r\n/g, ""), closed });
  };
  const timer = setTimeout(() => {
    socket.destroy();
    changed.resolve();
    reject(new Error(`no end after ${withinMs} ms; so far: ${JSON.stringify(answered)}`));
  }, withinMs);
  socket.on("data", (data) => {
    answered += data.toString("latin1");
    changed.resolve();
    changed = Promise.withResolvers();
    if (enough !== undefined && answered.includes(enough)) end(false);
  });
  socket.on("end", () => end(true));
  socket.on("error", () => end(true));
  socket.on("close", () => end(true));
  void take(steps);
  return promise;

  async function take(remaining: readonly Step[]): Promise<void> {
    for (const step of remaining) {
      if (socket.destroyed) return;
      if (typeof step === "string") socket.write(Buffer.from(step, "latin1"));
      else if ("close" in step) socket.end();
      else if ("waitMs" in step) await Bun.sleep(step.waitMs);
      else while (!answered.includes(step.until) && !socket.destroyed) await changed.promise;
    }
  }
}
