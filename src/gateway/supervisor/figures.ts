/**
 * What workers have told of requests, summed up by application: since the start, for the last
 * minute by second, for the last hour by minute. What is older is dropped, so that an application
 * without requests keeps its sums and nothing else. A worker may lie here, and nowhere else.
 */
import {
  figureCount,
  figurePlaces,
  histogramAt,
  quantileMs,
  statusClasses,
  type ApplicationFigures,
} from "../../wire/request-figures.ts";
import type { ToldFigures } from "../control-channel.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const seconds = 60;
const minutes = 60;

/** One minute of an application, for charts. */
interface MinuteFigures {
  /** Which one, counted from the gateway's start. */
  readonly minute: number;
  readonly requests: number;
  /** Of them, those answered with a status of 500 or above. */
  readonly failed: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly waitP99Ms: number | null;
}

export interface HourFigures {
  /** The one at hand. */
  readonly minute: number;
  /** Whole ones with requests. */
  readonly minutes: readonly MinuteFigures[];
  readonly memory: readonly { readonly minute: number; readonly bytes: number }[];
}

interface Summed {
  readonly total: Float64Array;
  /** Of the last minute, those with requests, oldest first. */
  seconds: { readonly second: number; readonly row: Float64Array }[];
  /** Of the minute at hand. */
  readonly minute: Float64Array;
  /** Whole minutes with requests, oldest first. */
  hour: MinuteFigures[];
  /** At the beginning of minutes, as far as it was looked at. */
  memory: { readonly minute: number; readonly bytes: number }[];
}

export class Figures {
  readonly #startMs: number;
  readonly #apps = new Map<string, Summed>();
  /** The one at hand. */
  #minute = 0;

  /** @param nowMs by performance.now(), as below. */
  constructor(nowMs: number) {
    this.#startMs = nowMs;
  }

  /** To be called every second. @returns whether another minute has begun. */
  tick(nowMs: number): boolean {
    const minute = Math.floor((nowMs - this.#startMs) / minuteMs);
    if (minute === this.#minute) return false;
    const second = Math.floor((nowMs - this.#startMs) / secondMs);
    for (const summed of this.#apps.values()) {
      const last = minuteFigures(this.#minute, summed.minute);
      const hour = last.requests === 0 ? summed.hour : [...summed.hour, last];
      summed.hour = hour.filter((one) => minute - one.minute <= minutes);
      summed.minute.fill(0);
      summed.memory = summed.memory.filter((one) => minute - one.minute <= minutes);
      summed.seconds = summed.seconds.filter((one) => second - one.second < seconds);
    }
    this.#minute = minute;
    return true;
  }

  /** The memory of an application's processes at the beginning of this minute. */
  noteMemory(name: string, bytes: number): void {
    this.#summedOf(name).memory.push({ minute: this.#minute, bytes });
  }

  /** A worker has told this. */
  add(told: ToldFigures, nowMs: number): void {
    const second = Math.floor((nowMs - this.#startMs) / secondMs);
    for (const [name, row] of told) {
      const summed = this.#summedOf(name);
      addTo(summed.total, row);
      addTo(summed.minute, row);
      const last = summed.seconds.at(-1);
      if (last?.second === second) addTo(last.row, row);
      else summed.seconds.push({ second, row: Float64Array.from(row) });
      if (second - (summed.seconds[0]?.second ?? second) >= seconds) summed.seconds.shift();
    }
  }

  /** @param name empty: requests that no application was found for. */
  of(name: string, underWay: number, nowMs: number): ApplicationFigures {
    const summed = this.#apps.get(name);
    const total = summed?.total ?? new Float64Array(figureCount);
    const sinceMs = nowMs - this.#startMs;
    const recent = this.#lastMinute(summed, sinceMs);
    const lastSeconds = Math.min(seconds, Math.max(1, sinceMs / secondMs));
    return {
      statuses: Object.fromEntries(
        statusClasses.map((digit, at) => [digit, total[figurePlaces.statuses + at] ?? 0]),
      ) as ApplicationFigures["statuses"],
      times: histogramAt(total, figurePlaces.times),
      waits: histogramAt(total, figurePlaces.waits),
      bytesSent: total[figurePlaces.bytesSent] ?? 0,
      underWay,
      requestsPerSecond: requestsIn(recent) / lastSeconds,
      ...quantilesOf(recent),
    };
  }

  /** The last hour, oldest first. Memory is known while there is an admin address. */
  lastHour(name: string): HourFigures {
    const { hour = [], memory = [] } = this.#apps.get(name) ?? {};
    return { minute: this.#minute, minutes: hour, memory };
  }

  /** The sum of the last 60 seconds, that at hand included. */
  #lastMinute(summed: Summed | undefined, sinceMs: number): Float64Array {
    const now = Math.floor(sinceMs / secondMs);
    const sum = new Float64Array(figureCount);
    for (const { second, row } of summed?.seconds ?? []) {
      if (now - second < seconds) addTo(sum, row);
    }
    return sum;
  }

  #summedOf(name: string): Summed {
    return this.#apps.getOrInsertComputed(name, () => {
      const [total, minute] = [new Float64Array(figureCount), new Float64Array(figureCount)];
      return { total, seconds: [], minute, hour: [], memory: [] };
    });
  }
}

function minuteFigures(minute: number, row: Float64Array): MinuteFigures {
  const failed = row[figurePlaces.statuses + 4] ?? 0;
  return { minute, requests: requestsIn(row), failed, ...quantilesOf(row) };
}

function quantilesOf(row: Float64Array): Pick<MinuteFigures, "p50Ms" | "p99Ms" | "waitP99Ms"> {
  const times = histogramAt(row, figurePlaces.times);
  return {
    p50Ms: quantileMs(times, 0.5),
    p99Ms: quantileMs(times, 0.99),
    waitP99Ms: quantileMs(histogramAt(row, figurePlaces.waits), 0.99),
  };
}

function addTo(sum: Float64Array, row: ArrayLike<number>): void {
  for (let at = 0; at < figureCount; at += 1) sum[at] = (sum[at] ?? 0) + (row[at] ?? 0);
}

function requestsIn(row: ArrayLike<number>): number {
  const { statuses } = figurePlaces;
  return statusClasses.reduce((sum, _, at) => sum + (row[statuses + at] ?? 0), 0);
}
