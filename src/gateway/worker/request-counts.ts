/**
 * Counts a worker's requests, by application, until the supervisor asks for what has come together.
 * Every request passes here twice: nothing is made and no clock is read for it.
 */
import { bucketOf, figureCount, figurePlaces } from "../../wire/request-figures.ts";
import type { AppConfig } from "../config.ts";
import type { ToldFigures } from "../control-channel.ts";
import type { VisitRecord } from "./visit-record.ts";

type OverRequest = Pick<VisitRecord, "app" | "receivedMs" | "status" | "bytes" | "queueMs" | "pid">;

const { statuses, times, timesMs, waits, waitsMs, bytesSent, underWay } = figurePlaces;

export class RequestCounts {
  readonly #rows = new Map<AppConfig | undefined, Float64Array>();
  /** What was told last of those under way. */
  readonly #toldUnderWay = new Map<AppConfig | undefined, number>();

  /** A request has found its application. */
  begun(app: AppConfig): void {
    add(this.#rowOf(app), underWay, 1);
  }

  /** A request is over. @param nowMs by performance.now(). */
  over(request: OverRequest, nowMs: number): void {
    const { app, status, queueMs } = request;
    const row = this.#rowOf(app);
    if (app !== undefined) add(row, underWay, -1);
    add(row, statuses + Math.min(4, Math.max(0, Math.floor(status / 100) - 1)), 1);
    add(row, bytesSent, request.bytes);
    if (status !== 101) {
      const ms = nowMs - request.receivedMs;
      add(row, times + bucketOf(ms), 1);
      add(row, timesMs, ms);
    }
    if (request.pid === 0 && queueMs === 0) return;
    add(row, waits + bucketOf(queueMs), 1);
    add(row, waitsMs, queueMs);
  }

  /** What has come since it was taken last, of applications with news; `""`: of none of them. */
  take(): ToldFigures {
    const told: [string, number[]][] = [];
    for (const [app, row] of this.#rows) {
      const isUnderWay = row[underWay] ?? 0;
      const isOld = this.#toldUnderWay.get(app) === isUnderWay;
      if (isOld && row.every((n, at) => n === 0 || at === underWay)) continue;
      this.#toldUnderWay.set(app, isUnderWay);
      told.push([app?.name ?? "", Array.from(row, rounded)]);
      row.fill(0);
      row[underWay] = isUnderWay;
    }
    return told;
  }

  #rowOf(app: AppConfig | undefined): Float64Array {
    const row = this.#rows.get(app);
    if (row !== undefined) return row;
    const first = new Float64Array(figureCount);
    this.#rows.set(app, first);
    return first;
  }
}

function add(row: Float64Array, at: number, n: number): void {
  row[at] = (row[at] ?? 0) + n;
}

/** Microseconds are enough. */
function rounded(n: number): number {
  return Math.round(n * 1000) / 1000;
}
