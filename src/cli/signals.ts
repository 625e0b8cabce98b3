/**
 * Signals, from the first line of main: the handlers are there before any other module is loaded,
 * so that nothing is lost between then and the moment somebody listens.
 */

export const handledSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** The signals we act on: what each means is decided by whoever listens. */
type HandledSignal = (typeof handledSignals)[number];

let listener: ((signal: HandledSignal) => void) | undefined;
const early: HandledSignal[] = [];
// A storm of signals before anyone listens is as good as its first few.
const maxEarly = 8;

function handle(signal: HandledSignal): void {
  if (listener !== undefined) listener(signal);
  else if (early.length < maxEarly) early.push(signal);
}

/** Installs the handlers; what comes before somebody listens is kept. */
export function watchSignals(): void {
  for (const signal of handledSignals) {
    process.removeAllListeners(signal);
    process.on(signal, () => handle(signal));
  }
}

/** Hands every signal to `listen`, those that came earlier at once. */
export function onSignal(listen: (signal: HandledSignal) => void): void {
  listener = listen;
  for (const signal of early.splice(0)) listen(signal);
}

/** Has Ctrl-C, or SIGTERM, end a command that would go on for ever. */
export function endOnSignal(): void {
  onSignal((signal) => {
    if (signal === "SIGINT" || signal === "SIGTERM") process.exit(0);
  });
}
