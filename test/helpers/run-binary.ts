/** The compiled binary as a plain command, for command lines that do not become a server. */
import { binaryPath, plainEnvironment } from "./binary-server.ts";

export interface RunOptions {
  /** What the binary finds on descriptor 3; absent: nothing. */
  readonly descriptor3?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** The command that runs the server's command line. */
  readonly wrapper?: readonly string[];
}

export interface Outcome {
  readonly status: number | null;
  /** The signal that ended it, if one did. */
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the binary to its end. Arguments are UTF-8 text. */
export async function runBinary(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const { descriptor3, environment = {}, wrapper = [] } = options;
  await using child = Bun.spawn([...wrapper, binaryPath, ...args], {
    env: { ...plainEnvironment, ...environment },
    stdio: ["ignore", "pipe", "pipe", ...(descriptor3 === undefined ? [] : [descriptor3])],
  });
  const [stdout, stderr, status] = await Promise.all([
    (child.stdout as ReadableStream).text(),
    (child.stderr as ReadableStream).text(),
    child.exited,
  ]);
  return {
    status,
    signal: child.signalCode === null ? undefined : String(child.signalCode),
    stdout,
    stderr,
  };
}
