/**
 * Options, strictly. One table, citty's, defines them: citty shows it with --help, and the
 * platform's own parser takes arguments apart by it (citty's lets unknown options through and keeps
 * one of several values). Those of the daemon can also be given as environment variables; the
 * command line wins. A wrong value in either place is a UsageError that names the place.
 */
import type { ArgsDef } from "citty";

import { nearestWord } from "./nearest-word.ts";
import { UsageError } from "./usage-error.ts";

/** The environment variable of an option: `--max-per-app` is APPLICATION_POOL_MAX_PER_APP. */
export function variableOf(name: string): string {
  return `APPLICATION_POOL_${name.replaceAll("-", "_").toUpperCase()}`;
}

/** An option with a value, as citty has it. */
export function option(valueHint: string, description: string) {
  return { type: "string", valueHint, description } as const;
}

/** One option's text and where it was given. */
export interface Given {
  readonly text: string;
  /** `--max`, or the name of the environment variable. */
  readonly where: string;
}

/** Options given by name, all of them known and with a value. */
export type GivenOptions = ReadonlyMap<string, Given>;

/**
 * Reads options that take a value.
 * @param definition citty's, every option of type string.
 * @throws UsageError for an unknown option, a missing value, an option given twice, or anything
 * else left over.
 */
export function readOptions(
  rawArguments: readonly string[],
  definition: ArgsDef,
  environment: Readonly<Record<string, string | undefined>>,
): GivenOptions {
  const given = new Map<string, Given>();
  for (const name of Object.keys(definition)) {
    const text = environment[variableOf(name)];
    if (text !== undefined && text !== "") given.set(name, { text, where: variableOf(name) });
  }
  const { given: options, words } = readArguments(rawArguments, definition);
  if (words[0] !== undefined) throw new UsageError(`unexpected argument '${words[0]}'`);
  for (const [name, [text = ""]] of options) given.set(name, { text, where: `--${name}` });
  return given;
}

/** A command line, taken apart. */
export interface Arguments {
  /** What is no option, in its order. */
  readonly words: readonly string[];
  /** Options with their values in order; a flag has none. */
  readonly given: ReadonlyMap<string, readonly string[]>;
}

/**
 * Takes arguments apart: words, flags, and `--name value` or `--name=value`, all of known names.
 * @param definition citty's: options of type string, flags of type boolean.
 * @param repeatable options that may be given several times.
 * @throws UsageError.
 */
export function readArguments(
  rawArguments: readonly string[],
  definition: ArgsDef,
  repeatable: readonly string[] = [],
): Arguments {
  if (rawArguments.length === 0) return { words: [], given: new Map() };
  // Loading it takes half a millisecond, for which a parent without options need not wait.
  const { parseArgs } = process.getBuiltinModule("node:util");
  const { tokens } = parseArgs({
    args: [...rawArguments],
    options: optionsOf(definition),
    // Mistakes are found below, so that they are said in our words.
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const words: string[] = [];
  const given = new Map<string, string[]>();
  let numberAt = -1;
  for (const token of tokens) {
    if (token.kind === "positional") {
      if (token.value === "") throw new UsageError("an argument is empty: is a variable not set?");
      words.push(token.value);
    }
    if (token.kind === "option-terminator") throw new UsageError("unexpected argument '--'");
    if (token.kind !== "option") continue;
    const { name, rawName, value } = token;
    if (token.index === numberAt) continue;
    if (/^-[0-9.]/.test(rawName)) {
      // A number below 0: each of its signs has become an option.
      words.push(rawArguments[token.index] ?? "");
      numberAt = token.index;
      continue;
    }
    if (rawName !== `--${name}`) throw new UsageError(`unexpected argument '${rawName}'`);
    const kind = Object.hasOwn(definition, name) ? definition[name]?.type : undefined;
    if (kind !== "string" && kind !== "boolean") throw new UsageError(unknown(name, definition));
    const values = given.get(name) ?? [];
    if (given.has(name) && !repeatable.includes(name)) {
      throw new UsageError(`option '--${name}' is given twice`);
    }
    given.set(name, values);
    if (kind === "boolean") {
      if (value !== undefined) throw new UsageError(`option '--${name}' takes no value`);
    } else if (
      value === undefined ||
      value === "" ||
      (!token.inlineValue && value.startsWith("--"))
    ) {
      throw new UsageError(`option '--${name}' needs a value`);
    } else values.push(value);
  }
  return { words, given };
}

/** The definition in the words of the platform's parser, which citty's is built on as well. */
function optionsOf(definition: ArgsDef) {
  const kinds = Object.entries(definition).map(([name, { type }]) => {
    const isFlag = type === "boolean";
    return [name, { type: isFlag ? "boolean" : "string", multiple: !isFlag }] as const;
  });
  return Object.fromEntries(kinds);
}

function unknown(name: string, definition: ArgsDef): string {
  const near = nearestWord(name, Object.keys(definition));
  return `unknown option '--${name}'${near === undefined ? "" : `; is '--${near}' meant?`}`;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** A whole number within bounds, or the fallback when the option is not given. */
export function wholeNumber(
  options: GivenOptions,
  name: string,
  bounds: Bounds,
  fallback: number,
): number {
  return readNumber(options, name, /^[0-9]{1,15}$/, "a whole number", bounds) ?? fallback;
}

/** Seconds, in milliseconds (a fraction is allowed), or the fallback when it is not given. */
export function seconds(
  options: GivenOptions,
  name: string,
  bounds: Bounds,
  fallbackMs: number,
): number {
  const form = /^[0-9]{1,10}(\.[0-9]{1,3})?$/;
  const value = readNumber(options, name, form, "a number of seconds", bounds);
  return value === undefined ? fallbackMs : Math.round(value * 1000);
}

function readNumber(
  options: GivenOptions,
  name: string,
  form: RegExp,
  what: string,
  { min, max }: Bounds,
): number | undefined {
  const given = options.get(name);
  if (given === undefined) return undefined;
  const value = form.test(given.text) ? Number(given.text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${given.where} is '${given.text}', not ${what} from ${min} to ${max}`);
}

/** One of a list of words, or the first when the option is not given. */
export function oneOf<Word extends string>(
  options: GivenOptions,
  name: string,
  words: readonly [Word, ...Word[]],
): Word {
  const given = options.get(name);
  if (given === undefined) return words[0];
  const word = words.find((candidate) => candidate === given.text);
  if (word !== undefined) return word;
  throw new UsageError(`${given.where} is '${given.text}', none of ${words.join(", ")}`);
}
