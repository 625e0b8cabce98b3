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

function read(args: string[], environment: Record<string, string> = {}): Promise<GivenOptions> {
  return readOptions(args, definition, environment);
}

/** The message of the UsageError that the arguments earn. */
async function mistake(args: string[], environment: Record<string, string> = {}): Promise<string> {
  try {
    const given = await read(args, environment);
    wholeNumber(given, "max", bounds, 20);
    seconds(given, "max-wait", bounds, 0);
    oneOf(given, "log-format", ["text", "json"]);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "none";
}

test("values are given behind a blank or an equals sign", async () => {
  const given = await read(["--max", "5", "--max-wait=2.5", "--log-format=json"]);
  expect(wholeNumber(given, "max", bounds, 20)).toBe(5);
  expect(seconds(given, "max-wait", bounds, 0)).toBe(2500);
  expect(oneOf(given, "log-format", ["text", "json"])).toBe("json");
});

test("what is not given has its default", async () => {
  const given = await read([]);
  expect(wholeNumber(given, "max", bounds, 20)).toBe(20);
  expect(seconds(given, "max-wait", bounds, 7)).toBe(7);
  expect(oneOf(given, "log-format", ["text", "json"])).toBe("text");
});

test("the command line wins over the environment, which wins over the default; empty is not given", async () => {
  const environment = { APPLICATION_POOL_MAX: "7", APPLICATION_POOL_MAX_WAIT: "" };
  expect(variableOf("max-wait")).toBe("APPLICATION_POOL_MAX_WAIT");
  const both = await read(["--max=5"], environment);
  expect(wholeNumber(both, "max", bounds, 20)).toBe(5);
  const one = await read([], environment);
  expect(wholeNumber(one, "max", bounds, 20)).toBe(7);
  expect(seconds(one, "max-wait", bounds, 3)).toBe(3);
});

test("a wrong value is named with where it was given", async () => {
  expect(await mistake(["--max", "many"])).toBe(
    "--max is 'many', not a whole number from 1 to 100",
  );
  expect(await mistake([], { APPLICATION_POOL_MAX: "0" })).toBe(
    "APPLICATION_POOL_MAX is '0', not a whole number from 1 to 100",
  );
  expect(await mistake(["--max-wait=-1"])).toContain("--max-wait is '-1', not a number of seconds");
  expect(await mistake(["--log-format", "xml"])).toBe("--log-format is 'xml', none of text, json");
});

test("numbers are decimal digits and nothing else", async () => {
  for (const text of ["1e1", "0x10", "5.", " 5", "5 ", "+5", "", "1.5", "101", "9".repeat(400)]) {
    expect([text, await mistake([`--max=${text}`])]).not.toEqual([text, "none"]);
  }
  for (const text of ["1,5", "1.2345", ".5", "1e1", "Infinity", "NaN"]) {
    expect([text, await mistake([`--max-wait=${text}`])]).not.toEqual([text, "none"]);
  }
  expect(await mistake(["--max=007", "--max-wait=1.5"])).toBe("none");
});

test("unknown options, missing values, doubled options and anything left over are mistakes", async () => {
  expect(await mistake(["--maximum=5"])).toBe("unknown option '--maximum'");
  expect(await mistake(["--constructor=5"])).toBe("unknown option '--constructor'");
  expect(await mistake(["--max"])).toBe("option '--max' needs a value");
  expect(await mistake(["--max", "--max-wait=1"])).toBe("option '--max' needs a value");
  expect(await mistake(["--max=1", "--max=2"])).toBe("option '--max' is given twice");
  expect(await mistake(["extra"])).toBe("unexpected argument 'extra'");
  expect(await mistake(["-m", "5"])).toBe("unexpected argument '-m'");
  expect(await mistake(["--"])).not.toBe("none");
});
