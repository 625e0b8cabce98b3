/**
 * The server's own log: one line per event on stderr, as text (`<time> <level> <event> key=value
 * …`) or JSON.
 *
 * LOGLEVEL decides what is written: 0 warnings and errors, 1 notable events (spawns, retirements),
 * 2 and 3 more, 4 every message. Values come from clients and applications: they are escaped and
 * cut, so no value can end a line or reach a terminal.
 */
import {
  escapeControls,
  escapeForLog,
  fromText,
  toBytes,
  toText,
  type ByteString,
} from "../wire/bytes.ts";
import type { LineWriter } from "./line-writer.ts";

/** 0 warnings and errors, 1 notable events, 2 and 3 more, 4 every message. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;
export type LogFormat = "text" | "json";
export type LogFields = Readonly<Record<string, string | number | boolean>>;

/** Of each level. */
const words = ["warning", "notice", "info", "info", "debug"] as const;

/** Longest value shown, in characters: enough for a path, too little to flood with. */
const maxValueLength = 300;

export class Log {
  readonly #level: number;
  readonly #format: LogFormat;
  readonly #write: (line: string) => void;

  /** @param level LOGLEVEL: events above it are not written. */
  constructor(level: number, format: LogFormat, write: (line: string) => void) {
    this.#level = level;
    this.#format = format;
    this.#write = write;
  }

  /** Whether events of this level are written: ask before composing costly fields. */
  writes(level: LogLevel): boolean {
    return level <= this.#level;
  }

  event(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (level <= this.#level) this.#line(words[level], event, fields);
  }

  /** What an operator wants to know at every level, though nothing is wrong. */
  notice(event: string, fields: LogFields = {}): void {
    if (this.#level >= 0) this.#line("notice", event, fields);
  }

  /** Something failed that an operator should look at. */
  error(event: string, fields: LogFields = {}): void {
    if (this.#level >= 0) this.#line("error", event, fields);
  }

  #line(word: string, event: string, fields: LogFields): void {
    const time = new Date().toISOString();
    const cut: Record<string, string | number | boolean> = {};
    for (const [key, value] of Object.entries(fields)) {
      cut[key] = typeof value === "string" ? escape(value) : value;
    }
    if (this.#format === "json") {
      this.#write(`${JSON.stringify({ time, level: word, event, ...cut })}\n`);
      return;
    }
    const pairs = Object.entries(cut).map(([key, value]) => ` ${key}=${quoteIfNeeded(value)}`);
    this.#write(`${time} ${word} ${event}${pairs.join("")}\n`);
  }
}

function escape(value: string): string {
  const shown = value.length > maxValueLength ? `${value.slice(0, maxValueLength)}...` : value;
  // oxlint-disable-next-line no-control-regex -- control characters are what it is for
  return shown.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

function quoteIfNeeded(value: string | number | boolean): string {
  if (typeof value !== "string") return String(value);
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/**
 * How a line that an instance wrote stands in a log, with its line end: `<time> [<root> <pid>]
 * <line>`, or an event in JSON. The text form keeps the line's bytes, it is the application's log,
 * but for those that a terminal obeys: else a line could look like another application's.
 */
export function outputLine(
  format: LogFormat,
): (pid: number, root: ByteString, line: ByteString) => ByteString {
  if (format === "text") {
    return (pid, root, line) => {
      const start = `${new Date().toISOString()} [${escapeForLog(root)} ${pid}]`;
      return `${start} ${withoutControls(line)}\n` as ByteString;
    };
  }
  return (pid, root, line) => {
    const time = new Date().toISOString();
    const event = { time, level: "output", app: toText(root), pid, line: toText(line) };
    return fromText(`${JSON.stringify(event)}\n`);
  };
}

/** Colours (ECMA-48, SGR) move nothing, and a tab is a blank; a CR at the end is a line's end. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is for
const obeyed = /\r$|\x1b\[[0-9;]{0,20}m|[\x00-\x08\x0a-\x1f\x7f]|\xc2[\x80-\x9f]/g;

/** A line as a terminal shows it without obeying it. */
export function withoutControls(line: ByteString): string {
  return line.replace(obeyed, (bytes, at: number) => {
    if (bytes.length > 2) return bytes;
    const isEnd = bytes === "\r" && at === line.length - 1;
    return isEnd ? "" : escapeControls(bytes as ByteString);
  });
}

/** Writes lines of instances to one log. */
export function outputWriter(
  writer: LineWriter,
  format: LogFormat,
): (pid: number, root: ByteString, line: ByteString) => void {
  const lineOf = outputLine(format);
  return (pid, root, line) => writer.gather(toBytes(lineOf(pid, root, line)));
}
