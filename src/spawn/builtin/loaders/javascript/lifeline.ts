/**
 * What an instance says on its lifeline, descriptor 4 (PROTOCOL section 10), for the loaders of
 * JavaScript. Runs inside instances.
 */
const descriptor = 4;

/** Loaded when it is used: in Bun it takes a third of the runtime's own start. */
const writeSync = (message: Uint8Array, from = 0): number =>
  (require("node:fs") as typeof import("node:fs")).writeSync(descriptor, message, from);

/**
 * Writes a message that is so small that the kernel takes it whole or not at all. @returns whether
 * it has been taken, or nobody is there any more who wants to know.
 */
let write = (message: Uint8Array): boolean => {
  try {
    writeSync(message);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "EAGAIN";
  }
  return true;
};

/** Another way to do that: whole or not at all. */
export function writeBy(function_: typeof write): void {
  write = function_;
}

const maxFailureBytes = 60_000;

function arrayMessage(...elements: string[]): Uint8Array {
  const payload = Buffer.from(elements.map((element) => `${element}\0`).join(""), "latin1");
  const size = Buffer.alloc(2);
  size.writeUInt16BE(payload.length);
  return Buffer.concat([size, payload]);
}

function tell(message: Uint8Array): void {
  for (let at = 0; at < message.length;) at += writeSync(message, at);
}

/** That so many sessions are served at once, and whether the end of each is told. */
export function tellReady(concurrency: number, tellsDone = true): void {
  write(arrayMessage("ready", String(concurrency), ...(tellsDone ? ["done"] : [])));
}

/** Sessions that are over, and that the server has not been told of yet. */
let untold = 0;

/** When a server that does not read is tried again. */
const retryMs = 20;

/** Another session is over for this instance. Does not wait for the server to read it. */
export function tellDone(): void {
  untold += 1;
  if (untold === 1) tellUntold();
}

function tellUntold(): void {
  if (write(arrayMessage("done", String(untold)))) untold = 0;
  else setTimeout(tellUntold, retryMs).unref();
}

/** Why no session will be served. */
export function tellFailure(text: string): void {
  const page = Buffer.from(text).subarray(0, maxFailureBytes);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(page.length);
  tell(Buffer.concat([arrayMessage("error_page"), size, page]));
}
