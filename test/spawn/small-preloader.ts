/** Starts preloader.py, a preloader that is small and can misbehave. */
import type { AppGroup } from "../../src/spawn/builtin/app-group.ts";
import { Preloader } from "../../src/spawn/builtin/preloader.ts";
import { launchCommand } from "../../src/spawn/launch-plan.ts";
import { fromText, type ByteString } from "../../src/wire/bytes.ts";

/** @param how what it does wrong; empty: nothing. It is ended when it is disposed of. */
export function smallPreloader(
  how: string,
  writeLine: (pid: number, line: ByteString) => void,
  group?: AppGroup,
): Preloader & AsyncDisposable {
  const argv = ["python3", `${import.meta.dir}/preloader.py`, how].map(fromText);
  const plan = { argv, variables: [], isInstance: true };
  const times = { retiredMs: 2_000, shutdownMs: 1_000, terminatedMs: 1_000 };
  const never = new AbortController().signal;
  const urgency = { times, shutdown: never, hurry: never };
  const options = { urgency, writeLine, group };
  const preloader = new Preloader(launchCommand(plan), options);
  return Object.assign(preloader, { [Symbol.asyncDispose]: () => preloader.end() });
}
