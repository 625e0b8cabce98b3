/**
 * One line for one request, in the form of web servers (Combined Log Format, then figures of ours)
 * or as JSON. What visitors send is escaped: no value can end a line, close a quotation or reach a
 * terminal, and none is longer than a line may be.
 */
import type { RequestFields } from "../files/conditions.ts";
import type { VisitRecord } from "../worker/visit-record.ts";

/** Longest value shown, in characters; request targets can be far longer. */
const maxValueLength = 2000;

export type LineMaker = (visit: VisitRecord, headers: RequestFields, nowMs: number) => string;

/**
 * `ADDRESS - - [TIME] "METHOD TARGET HTTP/1.1" STATUS BYTES "REFERER" "USER-AGENT"` and then
 * `host= ms= queue= app= pid= id=`.
 */
export const commonLine: LineMaker = (visit, headers, nowMs) => {
  const { origin, method, target, status, bytes } = visit;
  const request = `${quoted(method)} ${quoted(target)} HTTP/1.1`;
  const referer = quoted(headers.get("referer") ?? "-");
  const agent = quoted(headers.get("user-agent") ?? "-");
  const took = inTenths(performance.now() - visit.receivedMs);
  return (
    `${origin.remoteAddress || "-"} - - [${commonTime(nowMs)}] "${request}" ${status} ${bytes} ` +
    `"${referer}" "${agent}" host=${word(origin.host)} ms=${took} ` +
    `queue=${inTenths(visit.queueMs)} app=${word(visit.app?.name ?? "")} ` +
    `pid=${visit.pid || "-"} id=${word(origin.id)}\n`
  );
};

export function oneLineJson(value: object): string {
  // JSON leaves DEL and the C1 controls as they are, which a terminal may obey.
  return `${JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029]/g, unicodeEscape)}\n`;
}

const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
let second = 0;
let secondText = "";

/** `25/Nov/2026:19:04:15 +0000`, always in UTC; made once a second. */
export function commonTime(nowMs: number): string {
  const now = Math.floor(nowMs / 1000);
  if (now !== second) {
    const iso = new Date(now * 1000).toISOString();
    const month = months[Number(iso.slice(5, 7)) - 1] ?? "";
    second = now;
    secondText = `${iso.slice(8, 10)}/${month}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000`;
  }
  return secondText;
}

/** A value between quotation marks. */
export function quoted(value: string): string {
  const shown = cut(value);
  return /^[ !#-[\]-~]*$/.test(shown) ? shown : shown.replace(/[^ !#-[\]-~]/gu, escape);
}

/** A value without quotation marks: no blank either; `-` for nothing. */
export function word(value: string): string {
  if (value === "") return "-";
  const shown = cut(value);
  return /^[!#-[\]-~]*$/.test(shown) ? shown : shown.replace(/[^!#-[\]-~]/gu, escape);
}

/** `\"`, `\\`, and `\xHH` for each byte of anything else. */
function escape(character: string): string {
  if (character === '"' || character === "\\") return `\\${character}`;
  return Array.from(
    Buffer.from(character),
    (byte) => `\\x${byte.toString(16).padStart(2, "0")}`,
  ).join("");
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

export function cut(value: string): string {
  return value.length > maxValueLength ? `${value.slice(0, maxValueLength)}...` : value;
}

/** As toFixed(1), which takes five times as long. */
function inTenths(ms: number): string {
  const count = Math.round(ms * 10);
  return `${Math.floor(count / 10)}.${count % 10}`;
}

export function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
