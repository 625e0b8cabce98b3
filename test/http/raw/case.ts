/**
 * Raw requests with their right answers: cases.jsonl, one a line. They are about no server in
 * particular: nginx, HAProxy, Node and Puma were held to the same ones.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface RawCase {
  readonly name: string;
  /** `must`: RFC 9110, 9112, or plain safety. `info`: either way is fine, nothing fails. */
  readonly level: "must" | "should" | "info";
  /** The section that rules, where one does. */
  readonly rfc: string;
  /** What is sent, base64; with `parts`, those and a pause in ms after each. */
  readonly bytes: string;
  readonly parts?: readonly (readonly [bytes: string, pauseMs: number])[];
  /** Whether the client ends its side after sending. */
  readonly half?: boolean;
  /** How many seconds of silence end the exchange, if not the usual. */
  readonly idle?: number;
  readonly expect: Expectation;
}

export interface Expectation {
  /** The lists of final statuses that are right; an empty one: closed without an answer. */
  readonly status: readonly (readonly number[])[];
  /** How many requests may reach the application. */
  readonly reached?: readonly number[];
  readonly closed?: boolean;
  /** Whether an interim answer is to come. */
  readonly interim?: boolean;
  /** Names of headers of the first answer. */
  readonly ans_absent?: readonly string[];
  readonly ans_present?: readonly string[];
  /** Names that may not reach the application. */
  readonly absent?: readonly string[];
  /** What the application sees of the first request. */
  readonly app?: readonly Seen[];
}

export interface Seen {
  readonly m?: string;
  readonly u?: string;
  readonly b?: string;
  readonly h?: Readonly<Record<string, string>>;
  /** A target that would be smuggled. */
  readonly not_u?: string;
  readonly xff?: string;
  readonly scheme?: string;
  readonly ip?: string;
}

/** One request as an application has noted it. */
export interface Reached {
  readonly m: string;
  readonly u: string;
  readonly h: Readonly<Record<string, string>>;
  readonly b: string;
  readonly scheme?: string;
  readonly ip?: string;
}

export function readCases(): RawCase[] {
  const lines = readFileSync(join(import.meta.dir, "cases.jsonl"), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as RawCase);
}

/** What a case sends, in pieces, and how long to wait after each. */
export function piecesOf({ bytes, parts }: RawCase): { data: Buffer; pauseMs: number }[] {
  return (parts ?? [[bytes, 0] as const]).map(([text, pauseMs]) => ({
    data: Buffer.from(text, "base64"),
    pauseMs,
  }));
}
