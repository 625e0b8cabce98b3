/**
 * Options of the command line, and the same from the environment: read strictly, wrong ones named
 * with their place.
 */
import { expect, test } from "bun:test";

import {
  oneOf,
  readOptions,
  seconds,
  variableOf,
  wholeNumber,
  type GivenOptions,
} from "../../src/cli/options.ts";
import { UsageError } from "../../src/cli/usage-error.ts";

const definition = {
  max: { type: "string" },
  "max-wait": { type: "string" },
  "log-format": { type: "string" },
} as const;

const bounds = { min: 1, max: 100 };

function read(args: string[], environment: Record<string, string> = {}): GivenOptions {
  return readOptions(args, definition, environment);
}

/** The message of the UsageError that the arguments earn. */
function mistake(args: string[], environment: Record<string, string> = {}): string {
  try {
    const given = read(args, environment);
    wholeNumber(given, "max", bounds, 20);
    seconds(given, "max-wait", bounds, 0);
    oneOf(given, "log-format", ["text", "json"]);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "none";
}

test("values are given behind a blank or an equals sign", () => {
  const given = read(["--max", "5", "--max-wait=2.5", "--log-format=json"]);
  expect(wholeNumber(given, "max", bounds, 20)).toBe(5);
  expect(seconds(given, "max-wait", bounds, 0)).toBe(2500);
  expect(oneOf(given, "log-format", ["text", "json"])).toBe("json");
});

test("what is not given has its default", () => {
  const given = read([]);
  expect(wholeNumber(given, "max", bounds, 20)).toBe(20);
  expect(seconds(given, "max-wait", bounds, 7)).toBe(7);
  expect(oneOf(given, "log-format", ["text", "json"])).toBe("text");
});

test("the command line wins over the environment, which wins over the default; empty is not given", () => {
  const environment = { APPLICATION_POOL_MAX: "7", APPLICATION_POOL_MAX_WAIT: "" };
  expect(variableOf("max-wait")).toBe("APPLICATION_POOL_MAX_WAIT");
  const both = read(["--max=5"], environment);
  expect(wholeNumber(both, "max", bounds, 20)).toBe(5);
  const one = read([], environment);
  expect(wholeNumber(one, "max", bounds, 20)).toBe(7);
  expect(seconds(one, "max-wait", bounds, 3)).toBe(3);
});

test("a wrong value is named with where it was given", () => {
  expect(mistake(["--max", "many"])).toBe("--max is 'many', not a whole number from 1 to 100");
  expect(mistake([], { APPLICATION_POOL_MAX: "0" })).toBe(
    "APPLICATION_POOL_MAX is '0', not a whole number from 1 to 100",
  );
  expect(mistake(["--max-wait=-1"])).toContain("--max-wait is '-1', not a number of seconds");
  expect(mistake(["--log-format", "xml"])).toBe("--log-format is 'xml', none of text, json");
});

test("numbers are decimal digits and nothing else", () => {
  for (const text of ["1e1", "0x10", "5.", " 5", "5 ", "+5", "", "1.5", "101", "9".repeat(400)]) {
    expect([text, mistake([`--max=${text}`])]).not.toEqual([text, "none"]);
  }
  for (const text of ["1,5", "1.2345", ".5", "1e1", "Infinity", "NaN"]) {
    expect([text, mistake([`--max-wait=${text}`])]).not.toEqual([text, "none"]);
  }
  expect(mistake(["--max=007", "--max-wait=1.5"])).toBe("none");
});

test("unknown options, missing values, doubled options and anything left over are mistakes", () => {
  expect(mistake(["--maximum=5"])).toBe("unknown option '--maximum'");
  expect(mistake(["--constructor=5"])).toBe("unknown option '--constructor'");
  expect(mistake(["--max"])).toBe("option '--max' needs a value");
  expect(mistake(["--max", "--max-wait=1"])).toBe("option '--max' needs a value");
  expect(mistake(["--max=1", "--max=2"])).toBe("option '--max' is given twice");
  expect(mistake(["extra"])).toBe("unexpected argument 'extra'");
  expect(mistake(["-m", "5"])).toBe("unexpected argument '-m'");
  expect(mistake(["--"])).not.toBe("none");
});
