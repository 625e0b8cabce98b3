/** The measurements' flags: what is wrong with the value of one is said by its name. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";

/** A flag: its text where none is given, and what a text comes to. */
export interface Flag<Value> {
  readonly usual?: string;
  read(name: string, text: string): Value;
}

/**
 * `--help` names the flags, and ends. @throws Error: a flag is not known, or its value is none.
 */
export function readFlags<Flags extends Readonly<Record<string, Flag<unknown>>>>(
  args: string[],
  flags: Flags,
): { readonly [Name in keyof Flags]: ReturnType<Flags[Name]["read"]> } {
  const entries = Object.entries(flags);
  if (args.includes("--help")) {
    for (const [name, { usual = "" }] of entries) console.log(`--${name} ${usual}`);
    process.exit(0);
  }
  const options = entries.map(([name]) => [name, { type: "string" }] as const);
  const { values } = parseArgs({ args, options: Object.fromEntries(options) });
  const read = entries.map(([name, flag]) => {
    const text = values[name] ?? flag.usual;
    return [name, typeof text === "string" ? flag.read(name, text) : undefined] as const;
  });
  return Object.fromEntries(read) as ReturnType<typeof readFlags<Flags>>;
}

export const pathFlag = (usual: string): Flag<string> => ({
  usual,
  read: (_, text) => resolve(text),
});

export const optionalPath: Flag<string | undefined> = { read: (_, text) => resolve(text) };

export const textFlag = (usual: string): Flag<string> => ({ usual, read: (_, given) => given });

/** @param least a fraction: any number from there on; else whole ones. */
export const numberFlag = (usual: number, least = 1): Flag<number> => ({
  usual: String(usual),
  read: (name, text) => numberOf(name, text, least),
});

/** From 0 on, if that is usual. */
export const numbersFlag = (...usual: readonly number[]): Flag<readonly number[]> => ({
  usual: usual.join(","),
  read: (name, list) => {
    return list.split(",").map((one) => numberOf(name, one, Math.min(1, ...usual)));
  },
});

/** One of these. */
export const wordFlag = <Word extends string>(known: readonly Word[], usual: Word): Flag<Word> => ({
  usual,
  read: (name, text) => wordOf(name, text, known),
});

/** Some of these, all of them if none is given. */
export const wordsFlag = <Word extends string>(known: readonly Word[]): Flag<readonly Word[]> => ({
  usual: known.join(","),
  read: (name, list) => list.split(",").map((one) => wordOf(name, one, known)),
});

/** @throws Error. */
function numberOf(flag: string, text: string, least: number): number {
  const value = Number(text);
  const isWhole = Number.isInteger(least);
  if ((isWhole ? Number.isInteger(value) : Number.isFinite(value)) && value >= least) return value;
  throw new Error(`--${flag} ${text}: not a ${isWhole ? "whole " : ""}number of at least ${least}`);
}

/** One of the known words. @throws Error. */
function wordOf<Word extends string>(flag: string, text: string, known: readonly Word[]): Word {
  const word = known.find((candidate) => candidate === text);
  if (word !== undefined) return word;
  throw new Error(`--${flag} ${text}: not one of ${known.join(", ")}`);
}
