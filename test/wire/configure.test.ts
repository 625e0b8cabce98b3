/** The options of `configure`: what is taken, and how each mistake is named. */

import { expect, test } from "bun:test";
import { encodeConfigureOptions, parseConfigureOptions } from "../../src/wire/configure.ts";
import { OptionsError } from "../../src/wire/option-readers.ts";
import { bytes, literal } from "./support.ts";

const parse = (json: string) => parseConfigureOptions(new Uint8Array(Buffer.from(json)));

test("all options are taken", () => {
  const options = {
    env: { A: "1", LANG: "dé" },
    concurrency: 8,
    maxInstances: 3,
    instances: 2,
    spawnTimeoutMs: 5_000,
    user: "nobody",
    abandonTimeoutMs: 30_000,
    requestTimeoutMs: 0,
    maxQueue: 100,
    weight: 3,
    startupFile: "lib/start.rb",
    app: "mysite.wsgi:application",
    args: ["--verbose", ""],
    cwd: "var",
    interpreter: "/opt/env",
    umask: 0o027,
    envFile: ".env",
  };
  expect(parse(JSON.stringify(options))).toEqual(options);
});

test("no options are options too", () => {
  expect(parse("{}")).toEqual({});
  expect(parse(' {"env":{}}\n')).toEqual({ env: {} });
});

test("what we write is a scalar that is read again", () => {
  const frame = encodeConfigureOptions({ concurrency: 2 });
  expect(literal(frame)).toBe('\0\0\0\x11{"concurrency":2}');
  expect(parseConfigureOptions(frame.subarray(4))).toEqual({ concurrency: 2 });
});

test.each([
  ["concurrency", 1, 100_000],
  ["threads", 1, 1_000],
  ["instances", 0, 100_000],
  ["maxInstances", 0, 100_000],
  ["spawnTimeoutMs", 1, 3_600_000],
  ["abandonTimeoutMs", 0, 86_400_000],
  ["requestTimeoutMs", 0, 86_400_000],
  ["upgradedTimeMs", 0, 86_400_000],
  ["maxQueue", 0, 1_000_000],
  ["weight", 1, 100],
  ["umask", 0, 0o777],
] as const)("%s is taken from %d to %d and not beyond", (key, min, max) => {
  expect(parse(`{"${key}":${min}}`)).toEqual({ [key]: min });
  expect(parse(`{"${key}":${max}}`)).toEqual({ [key]: max });
  const refused: unknown[] = [min - 1, max + 1, min + 0.5, "1", null, true, [1], {}, -1];
  for (const value of refused) {
    const shown = JSON.stringify(value);
    expect(() => parse(`{"${key}":${shown}}`)).toThrow(
      new OptionsError(`configure: ${key} is ${shown}, not a whole number from ${min} to ${max}`),
    );
  }
});

test.each([
  ["", "configure: the options are not JSON"],
  ["{", "configure: the options are not JSON"],
  ["{} x", "configure: the options are not JSON"],
  ["[]", "configure: the options must be an object, not []"],
  ["null", "configure: the options must be an object, not null"],
  [
    '{"threads":2,"concurrency":2}',
    "configure: concurrency and threads are both given: one says it",
  ],
  ["7", "configure: the options must be an object, not 7"],
  ['{"max":1}', 'configure: unknown option "max"; known are env, concurrency,'],
  ['{"__proto__":{}}', 'configure: unknown option "__proto__"'],
  ['{"env":[]}', "configure: env must be an object, not []"],
  ['{"env":"A=1"}', 'configure: env must be an object, not "A=1"'],
  ['{"env":{"A":1}}', 'configure: env: "A" is 1, not a string'],
  ['{"env":{"A":null}}', 'configure: env: "A" is null, not a string'],
  ['{"env":{"":"x"}}', `configure: env: "" cannot be a variable's name`],
  ['{"env":{"A=B":"x"}}', `configure: env: "A=B" cannot be a variable's name`],
  ['{"env":{"A\\u0000":"x"}}', `cannot be a variable's name`],
  ['{"env":{"A":"x\\u0000"}}', 'configure: env: "A" holds a NUL or half a character'],
  ['{"env":{"A":"\\ud800"}}', 'configure: env: "A" holds a NUL or half a character'],
])("the options %j are refused", (json, message) => {
  expect(() => parse(json)).toThrow(message);
  expect(() => parse(json)).toThrow(OptionsError);
});

test("bytes that are no UTF-8 are refused", () => {
  expect(() => parseConfigureOptions(bytes('{"env":{"A":"\xff"}}'))).toThrow(
    "configure: the options are not UTF-8",
  );
});

test("a long value is shown by its start", () => {
  expect(() => parse(`{"concurrency":"${"9".repeat(500)}"}`)).toThrow(
    `configure: concurrency is "${"9".repeat(59)}..., not a whole number`,
  );
});

test("an environment variable called __proto__ is one like any other", () => {
  const { env } = parse('{"env":{"__proto__":"x","constructor":"y"}}');
  expect(Object.entries(env ?? {})).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
});
