/**
 * Signals, from the first line of main. Importing this file installs the handlers, before any other module is loaded, so
 * that nothing is lost between then and the moment somebody listens.
 */

/** The signals we act on: what each means is decided by whoever listens. */
export type HandledSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGUSR1" | "SIGUSR2";

let listener: ((signal: HandledSignal) => void) | undefined;
const early: HandledSignal[] = [];
// A storm of signals before anyone listens is as good as its first few.
const maxEarly = 8;

function handle(signal: HandledSignal): void {
  if (listener !== undefined) listener(signal);
  else if (early.length < maxEarly) early.push(signal);
}

process.on("SIGINT", () => handle("SIGINT"));
process.on("SIGTERM", () => handle("SIGTERM"));
process.on("SIGHUP", () => handle("SIGHUP"));
process.on("SIGUSR1", () => handle("SIGUSR1"));
process.on("SIGUSR2", () => handle("SIGUSR2"));

/** Hands every signal to `listen`, those that came earlier at once. */
export function onSignal(listen: (signal: HandledSignal) => void): void {
  listener = listen;
  for (const signal of early.splice(0)) listen(signal);
}
