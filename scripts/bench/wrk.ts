/**
 * Runs wrk, the load generator, and reads what it prints. One run is one load on one server for a
 * given time; it ends by itself.
 */

export interface Load {
  /** What people call it. */
  readonly title: string;
  readonly connections: number;
  /** Path of the request, unless a script makes the requests. */
  readonly path: string;
  /** A Lua script of this folder's, and its arguments. */
  readonly script?: string;
  readonly scriptArgs?: readonly string[];
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests that were not answered, or with a status of 400 or more. */
  readonly failed: number;
}

/** An answer that takes longer counts as failed. */
const ANSWER_LIMIT_SECONDS = 60;
const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

function milliseconds(output: string, percentile: number): number {
  const found = new RegExp(`^ +${percentile}% +([\\d.]+)(us|ms|s|m)`, "m").exec(output);
  const unit = UNITS[found?.[2] ?? ""];
  if (found === null || unit === undefined) throw new Error(`wrk printed no p${percentile}`);
  return Number(found[1]) * unit;
}

/** Reads the output of `wrk --latency`. @throws Error when it is not that. */
export function parseWrk(output: string): LoadResult {
  const perSecond = /^Requests\/sec: +([\d.]+)$/m.exec(output)?.[1];
  if (perSecond === undefined) throw new Error(`wrk printed no rate: ${output}`);
  const badStatus = /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0;
  const kinds = "connect (\\d+), read (\\d+), write (\\d+), timeout (\\d+)";
  const errors = new RegExp(`Socket errors: ${kinds}`).exec(output);
  return {
    perSecond: Number(perSecond),
    p50Ms: milliseconds(output, 50),
    p99Ms: milliseconds(output, 99),
    failed: [badStatus, ...(errors ?? []).slice(1)].reduce<number>((a, b) => a + Number(b), 0),
  };
}

/** One load on the server at `url`. One thread of wrk drives more than any server here answers. */
export async function runWrk(url: string, load: Load, seconds: number): Promise<LoadResult> {
  const script = load.script === undefined ? [] : ["-s", `${import.meta.dir}/${load.script}`];
  const size = ["-t1", `-c${load.connections}`, `-d${seconds}s`];
  const limits = ["--latency", "--timeout", `${ANSWER_LIMIT_SECONDS}s`];
  const more = load.scriptArgs === undefined ? [] : ["--", ...load.scriptArgs];
  const command = ["wrk", ...size, ...limits, ...script, `${url}${load.path}`, ...more];
  const wrk = Bun.spawn(command, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: (seconds + ANSWER_LIMIT_SECONDS) * 1000,
  });
  const [output, errors] = await Promise.all([wrk.stdout.text(), wrk.stderr.text()]);
  if ((await wrk.exited) !== 0) throw new Error(`${command.join(" ")}: ${errors || output}`);
  return parseWrk(output);
}
