/**
 * Figures of an application's requests, as workers count them and tell the supervisor: a row of
 * numbers, so that to count is to add to a place. All are sums since the worker told the last, but
 * for `underWay`, which is how it stands.
 */

/** Upper ends of the buckets that times are counted in, in milliseconds; one more has the rest. */
export const bucketEndsMs: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000,
];
const bucketCount = bucketEndsMs.length + 1;

export const statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** Places in a row. */
const times = statusClasses.length;
const waits = times + bucketCount + 1;
const rest = waits + bucketCount + 1;
export const figurePlaces = {
  /** Of the five classes. */
  statuses: 0,
  /**
   * From a request's head to the last byte of its answer: a count for each bucket, then the sum in
   * milliseconds. Without those whose protocol was switched.
   */
  times,
  timesMs: times + bucketCount,
  /** The same for how long an instance was waited for, where one was asked for. */
  waits,
  waitsMs: waits + bucketCount,
  /** Of answers' bodies. */
  bytesSent: rest,
  underWay: rest + 1,
} as const;
export const figureCount = rest + 2;

export function bucketOf(ms: number): number {
  let bucket = 0;
  while (bucket < bucketEndsMs.length && ms > (bucketEndsMs[bucket] ?? 0)) bucket += 1;
  return bucket;
}

export interface Histogram {
  /** For each of `bucketEndsMs`, and the rest. */
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/** The histogram in a row, at `figurePlaces.times` or `waits`. */
export function histogramAt(row: ArrayLike<number>, place: number): Histogram {
  const counts = Array.from({ length: bucketCount }, (_, at) => row[place + at] ?? 0);
  return { counts, sumMs: row[place + bucketCount] ?? 0 };
}

/**
 * The time within which a part of all lies, taken as evenly spread within each bucket; what is past
 * the last end counts as it. @returns null when there are none.
 */
export function quantileMs({ counts }: Histogram, part: number): number | null {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    const end = bucketEndsMs[bucket];
    if (end === undefined) break;
    if (count > 0 && below + count >= part * all) {
      const start = bucketEndsMs[bucket - 1] ?? 0;
      return start + ((end - start) * (part * all - below)) / count;
    }
    below += count;
  }
  return bucketEndsMs.at(-1) ?? null;
}

export interface ApplicationFigures {
  /** Requests whose answers are over, by class of their statuses, since the gateway's start. */
  readonly statuses: Readonly<Record<(typeof statusClasses)[number], number>>;
  readonly times: Histogram;
  readonly waits: Histogram;
  readonly bytesSent: number;
  readonly underWay: number;
  /** Of the last minute, or since the start, if that was later; null: there was no request. */
  readonly requestsPerSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly waitP99Ms: number | null;
}
