/**
 * One table of a configuration, read key by key: each getter checks type and bounds. What is wrong
 * is noted and a default taken in its place, so that one reading finds all problems, not the first.
 * Keys that nobody has asked for are unknown, which is a problem too: a misspelt limit must not be
 * taken for a set one.
 */
import { resolve } from "node:path";

import { nearestWord } from "./nearest-word.ts";
import { parseSize, parseTime, showSize, showTime } from "./units.ts";

/** What is wrong with a configuration: the key, as `pool.max` or `apps[0].root`, and why. */
export interface Problem {
  readonly key: string;
  readonly why: string;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** What the tables of one configuration share. */
interface Configuration {
  /** What relative paths start from. */
  readonly directory: string;
  /** What is wrong, in the order of reading. */
  readonly problems: Problem[];
}

/** What a getter makes of a value: the value as it is used, or why it cannot be. */
type Reading<T> = { readonly value: T } | { readonly why: string };

/** What others call some keys. */
const otherNames: ReadonlyMap<string, string> = new Map([
  ["prestart", "min_instances"],
  ["processes", "instances"],
  ["memory_limit", "max_memory"],
]);

export class Table {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #whole: Configuration;
  readonly #path: string;
  readonly #asked = new Set<string>();

  /** @param path of the table, empty for the whole. */
  constructor(values: Readonly<Record<string, unknown>>, whole: Configuration, path = "") {
    this.#values = values;
    this.#whole = whole;
    this.#path = path;
  }

  /** A path, absolute. */
  path(key: string): string | undefined {
    const text = this.text(key);
    return text === undefined ? undefined : this.resolve(text);
  }

  /** A path that the configuration has named, absolute. */
  resolve(path: string): string {
    return resolve(this.#whole.directory, path);
  }

  /** A key of this table as problems name it. */
  keyOf(key: string): string {
    return this.#path === "" ? key : `${this.#path}.${key}`;
  }

  /** The same as the file says it: without the number of a table in a list. */
  #headerOf(key: string): string {
    return this.keyOf(key).replaceAll(/\[\d+\]/g, "");
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  wrong(key: string, why: string): void {
    this.#whole.problems.push({ key: this.keyOf(key), why });
  }

  text(key: string): string | undefined;
  text(key: string, fallback: string): string;
  text(key: string, fallback?: string): string | undefined {
    return this.read<string | undefined>(key, fallback, (value) => readText(value));
  }

  word<Word extends string | boolean>(key: string, words: readonly Word[], fallback: Word): Word {
    return this.read(key, fallback, (value) => {
      const found = words.find((word) => word === value);
      return found === undefined
        ? { why: `is ${show(value)}, none of ${words.join(", ")}` }
        : { value: found };
    });
  }

  flag(key: string, fallback: boolean): boolean {
    return this.read(key, fallback, (value) =>
      typeof value === "boolean" ? { value } : { why: `is ${show(value)}, not true or false` },
    );
  }

  /** Of a file, in octal. */
  permissions(key: string, fallback: string, what = "permissions"): number {
    const text = this.text(key, fallback);
    if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
    this.wrong(key, `is '${text}', not ${what} such as "${fallback}"`);
    return 0;
  }

  whole(key: string, { min, max }: Bounds, fallback: number): number {
    return this.read(key, fallback, (value) =>
      Number.isInteger(value) && Number(value) >= min && Number(value) <= max
        ? { value: Number(value) }
        : { why: `is ${show(value)}, not a whole number from ${min} to ${max}` },
    );
  }

  /** A time with its unit, in milliseconds. @param offMs what "off" is; undefined: no time. */
  time(key: string, { min, max }: Bounds, fallbackMs: number, offMs?: number): number {
    return this.read(key, fallbackMs, (value) => {
      if (offMs !== undefined && value === "off") return { value: offMs };
      const ms = typeof value === "string" ? parseTime(value) : undefined;
      if (ms !== undefined && ms >= min && ms <= max) return { value: ms };
      const off = offMs === undefined ? "" : ', or "off"';
      const range = `from ${showTime(min)} to ${showTime(max)}${off}`;
      return { why: `is ${show(value)}, not a time such as "10s" or "500ms", ${range}` };
    });
  }

  /** The same of what "off" turns off. */
  timeOrOff(key: string, max: number, fallbackMs: number, offMs = 0): number {
    return this.time(key, { min: 0, max }, fallbackMs, offMs);
  }

  /** A size in bytes. */
  size(key: string, { min, max }: Bounds, fallback: number): number {
    return this.read(key, fallback, (value) => {
      const bytes = typeof value === "string" ? parseSize(value) : value;
      if (Number.isInteger(bytes) && Number(bytes) >= min && Number(bytes) <= max) {
        return { value: Number(bytes) };
      }
      const range = `from ${showSize(min)} to ${showSize(max)}`;
      return { why: `is ${show(value)}, not a size such as "64k" or "10m", ${range}` };
    });
  }

  texts(key: string, least: 0 | 1): string[] {
    return this.read<string[]>(key, [], (value) => {
      if (!Array.isArray(value)) return { why: `is ${show(value)}, not a list of texts` };
      if (value.length < least) return { why: "is an empty list: name one, or leave it out" };
      const bad = value.find((item) => "why" in readText(item));
      return bad === undefined
        ? { value: value as string[] }
        : { why: `holds ${show(bad)}, which is not a text` };
    });
  }

  /** A text, or a list of at least one. */
  textOrTexts(key: string): string | string[] | undefined {
    if (!Array.isArray(this.#values[key])) return this.text(key);
    return this.texts(key, 1);
  }

  /** A table below this one; an empty one if it is not there. */
  table(key: string): Table {
    const values = this.read<Record<string, unknown>>(key, {}, (value) =>
      isTable(value) ? { value } : { why: `is ${show(value)}, not a table` },
    );
    return new Table(values, this.#whole, this.keyOf(key));
  }

  /** The tables of a list, `[[key]]`. */
  tables(key: string): Table[] {
    const list = this.read<unknown[]>(key, [], (value) =>
      Array.isArray(value) && value.length > 0 && value.every((item) => isTable(item))
        ? { value }
        : { why: `is ${show(value)}, not a list of tables: write [[${this.#headerOf(key)}]]` },
    );
    return list.map((values, index) => {
      const path = `${this.keyOf(key)}[${index}]`;
      return new Table(values as Record<string, unknown>, this.#whole, path);
    });
  }

  /** All keys with their texts: a table whose keys are anybody's, such as `env`. */
  allTexts(): Record<string, string> {
    return Object.fromEntries(Object.keys(this.#values).map((key) => [key, this.text(key, "")]));
  }

  /** Notes the keys that nobody has asked for; to be called last. */
  finish(): void {
    for (const key of Object.keys(this.#values)) {
      if (this.#asked.has(key)) continue;
      const meant = otherNames.get(key) ?? "";
      const near = this.#asked.has(meant) ? meant : nearestWord(key, [...this.#asked]);
      this.wrong(key, near === undefined ? "is not known" : `is not known; is '${near}' meant?`);
    }
  }

  /** Any value, as `read` takes it. */
  read<T>(key: string, fallback: T, read: (value: unknown) => Reading<T>): T {
    this.#asked.add(key);
    if (!this.has(key)) return fallback;
    const reading = read(this.#values[key]);
    if ("value" in reading) return reading.value;
    this.wrong(key, reading.why);
    return fallback;
  }
}

function readText(value: unknown): Reading<string> {
  if (typeof value !== "string") return { why: `is ${show(value)}, not a text` };
  return value.includes("\0") ? { why: "holds a NUL" } : { value };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

/** A value as it may have been written, short. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return isTable(value) ? "a table" : "a date";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
