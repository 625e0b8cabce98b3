/** Commands: each by its bytes in both directions, and every way to get one wrong. */

import { expect, test } from "bun:test";
import type { AppRequest } from "../../src/wire/app-request.ts";
import { encodeCommand, parseCommand, type Command } from "../../src/wire/commands.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { b, bytes, cutEverywhere, literal } from "./support.ts";

const app: AppRequest = {
  root: b("/srv/\xff"),
  lowerPrivilege: true,
  lowestUser: b("nobody"),
  environment: b("production"),
  spawnMethod: "smart",
  appType: "rails",
};
const appBytes = "/srv/\xff\0true\0nobody\0production\0smart\0rails\0";

/** Every command with its bytes, by hand. */
const golden: readonly (readonly [string, Command])[] = [
  [`\0\x2eget\0${appBytes}`, { kind: "get", app }],
  [`\0\x36getTagged\0t\0${appBytes}`, { kind: "getTagged", tag: b("t"), app }],
  [`\0\x38getSticky\0t\0k\0${appBytes}`, { kind: "getSticky", tag: b("t"), token: b("k"), app }],
  ["\0\x09cancel\0t\0", { kind: "cancel", tag: b("t") }],
  ["\0\x09close\x0012\0", { kind: "close", sessionId: 12 }],
  ["\0\x07keep\x003\0", { kind: "keep", sessionId: 3 }],
  ["\0\x07long\x003\0", { kind: "long", sessionId: 3 }],
  ["\0\x07slow\x003\0", { kind: "slow", sessionId: 3 }],
  ["\0\x10abandon\x003\0GET /\0", { kind: "abandon", sessionId: 3, what: b("GET /") }],
  ["\0\x10overdue\x003\0GET /\0", { kind: "overdue", sessionId: 3, what: b("GET /") }],
  ["\0\x06clear\0", { kind: "clear" }],
  ["\0\x0asetMax\x0020\0", { kind: "setMax", max: 20 }],
  ["\0\x0fsetMaxPerApp\x000\0", { kind: "setMaxPerApp", maxPerApp: 0 }],
  ["\0\x13setMaxIdleTime\x00120\0", { kind: "setMaxIdleTime", seconds: 120 }],
  ["\0\x17setUseGlobalQueue\0true\0", { kind: "setUseGlobalQueue", useGlobalQueue: true }],
  ["\0\x0agetActive\0", { kind: "getActive" }],
  ["\0\x09getCount\0", { kind: "getCount" }],
  ["\0\x12getSpawnServerPid\0", { kind: "getSpawnServerPid" }],
  ["\0\x16openDescriptorChannel\0", { kind: "openDescriptorChannel" }],
  ["\0\x0dconfigure\0/a\0", { kind: "configure", root: b("/a") }],
  ["\0\x08inspect\0", { kind: "inspect" }],
  ["\0\x0cregister\0/a\0", { kind: "register", root: b("/a") }],
  ["\0\x0aretire\0/a\0", { kind: "retire", root: b("/a") }],
  ["\0\x0eunregister\0/a\0", { kind: "unregister", root: b("/a") }],
  ["\0\x06admit\0", { kind: "admit" }],
  ["\0\x05ping\0", { kind: "ping" }],
];

function parseFrame(...pieces: Uint8Array[]): Command | undefined {
  const decoder = new Decoder();
  for (const piece of pieces) decoder.push(piece);
  const elements = decoder.nextArray();
  return elements === undefined ? undefined : parseCommand(elements);
}

function parse(...elements: string[]): Command {
  return parseCommand(elements.map(b));
}

const getOf = (changes: Partial<Record<keyof AppRequest, string>>): string[] => [
  "get",
  ...Object.values({
    root: "/a",
    lowerPrivilege: "true",
    lowestUser: "nobody",
    environment: "production",
    spawnMethod: "smart",
    appType: "rack",
    ...changes,
  }),
];

for (const [frame, command] of golden) {
  test(`${command.kind} is written and read by its bytes, cut anywhere`, () => {
    expect(literal(encodeCommand(command))).toBe(frame);
    cutEverywhere(bytes(frame), (first, second, at) => {
      expect(parseFrame(first, second)).toEqual(command);
      if (at < frame.length) expect(parseFrame(first)).toBeUndefined();
    });
  });

  test(`${command.kind} with an element more or less is an error`, () => {
    const elements = frame.slice(2, -1).split("\0");
    const arity = elements.length - 1;
    expect(() => parse(...elements, "")).toThrow(
      new ProtocolError(`command ${command.kind}: it takes ${arity} arguments, not ${arity + 1}`),
    );
    if (arity > 0) expect(() => parse(...elements.slice(0, -1))).toThrow(ProtocolError);
  });
}

test.each(["", "GET", "get ", "constructor", "__proto__", "toString", "ok"])(
  "the command %j is unknown",
  (name) => {
    expect(() => parse(name)).toThrow(new ProtocolError(`unknown command '${name}'`));
  },
);

test("an unknown command is shown without its control characters, and not all of it", () => {
  expect(() => parse("\x1b[2J\n")).toThrow(String.raw`unknown command '\x1b[2J\n'`);
  expect(() => parse("x".repeat(60_000))).toThrow(`unknown command '${"x".repeat(200)}...'`);
});

test.each(["", " 1", "1 ", "+1", "1.5", "0x10", "1e3", "--1", "-", "abc", "1\n", "\u0661"])(
  "%j is not a number",
  (text) => {
    for (const name of ["setMax", "setMaxPerApp", "setMaxIdleTime", "close"]) {
      expect(() => parse(name, text)).toThrow(ProtocolError);
    }
  },
);

test("a bad number is shown in the error", () => {
  expect(() => parse("setMax", "abc")).toThrow("command setMax: n is 'abc', not a number");
  expect(() => parse("setMax", "0")).toThrow("command setMax: n is 0, not from 1 to 100000");
});

test("settings are taken at their bounds and refused beyond", () => {
  expect(parse("setMax", "1")).toEqual({ kind: "setMax", max: 1 });
  expect(parse("setMax", "100000")).toEqual({ kind: "setMax", max: 100_000 });
  expect(parse("setMaxPerApp", "-0")).toEqual({ kind: "setMaxPerApp", maxPerApp: 0 });
  expect(parse("setMaxPerApp", "100000")).toEqual({ kind: "setMaxPerApp", maxPerApp: 100_000 });
  expect(parse("setMaxIdleTime", "0")).toEqual({ kind: "setMaxIdleTime", seconds: 0 });
  const mostSeconds = { kind: "setMaxIdleTime", seconds: 2_147_483_647 } as const;
  expect(parse("setMaxIdleTime", "2147483647")).toEqual(mostSeconds);
  for (const [name, value] of [
    ["setMax", "0"],
    ["setMax", "-1"],
    ["setMax", "100001"],
    ["setMaxPerApp", "-1"],
    ["setMaxPerApp", "100001"],
    ["setMaxIdleTime", "-1"],
    ["setMaxIdleTime", "2147483648"],
    ["setMax", "9".repeat(400)],
  ] as const) {
    expect(() => parse(name, value)).toThrow(ProtocolError);
  }
});

test("leading zeros are digits like any other", () => {
  expect(parse("setMax", "007")).toEqual({ kind: "setMax", max: 7 });
});

test("close takes any number: one that is no open session is for others to ignore", () => {
  expect(parse("close", "-1")).toEqual({ kind: "close", sessionId: -1 });
  expect(parse("close", "9".repeat(20))).toEqual({ kind: "close", sessionId: 1e20 });
  expect(parse("close", "9".repeat(400))).toEqual({ kind: "close", sessionId: Infinity });
});

test.each(["yes", "", "True", "false", "true "])("a lowerPrivilege %j is false", (word) => {
  expect(parse(...getOf({ lowerPrivilege: word }))).toMatchObject({
    app: { lowerPrivilege: false },
  });
});

test("the words of a get that only a spawner can judge are kept as they came", () => {
  const words = { spawnMethod: b("f\xffst"), appType: b("") };
  const command = parse(...getOf(words));
  expect(command).toMatchObject({ app: words });
  expect(parseFrame(encodeCommand(command))).toEqual(command);
});

test.each(["rails", "rack", "wsgi", "bun", "node", "auto"])(
  "a get of a %s app is read",
  (appType) => {
    expect(parse(...getOf({ appType }))).toMatchObject({ app: { appType } });
  },
);

test("a get keeps false, conservative and empty elements as they are", () => {
  const command = parse(
    ...getOf({
      root: "",
      lowerPrivilege: "false",
      lowestUser: "",
      environment: "",
      spawnMethod: "conservative",
    }),
  );
  expect(command).toEqual({
    kind: "get",
    app: {
      root: b(""),
      lowerPrivilege: false,
      lowestUser: b(""),
      environment: b(""),
      spawnMethod: "conservative",
      appType: "rack",
    },
  });
});

test("setUseGlobalQueue takes anything but true for false", () => {
  expect(parse("setUseGlobalQueue", "true")).toMatchObject({ useGlobalQueue: true });
  for (const word of ["false", "1", "TRUE", ""]) {
    expect(parse("setUseGlobalQueue", word)).toMatchObject({ useGlobalQueue: false });
  }
});

test("tags have 1 to 32 bytes", () => {
  expect(parse("cancel", "\xff".repeat(32))).toEqual({
    kind: "cancel",
    tag: b("\xff".repeat(32)),
  });
  expect(() => parse("cancel", "")).toThrow("command cancel: the tag has 0 bytes, not 1 to 32");
  expect(() => parse("cancel", "x".repeat(33))).toThrow("the tag has 33 bytes, not 1 to 32");
  expect(() => parse("getTagged", "", ...getOf({}).slice(1))).toThrow(ProtocolError);
  const sticky = (token: string) => parse("getSticky", "t", token, ...getOf({}).slice(1));
  expect(sticky("")).toMatchObject({ kind: "getSticky", token: "" });
  expect(sticky("x".repeat(64))).toMatchObject({ token: "x".repeat(64) });
  expect(() => sticky("x".repeat(65))).toThrow("the token has 65 bytes, not 0 to 64");
});

test("what abandon and overdue say of a request has 300 bytes at most", () => {
  for (const kind of ["abandon", "overdue"] as const) {
    const what = b("\xff".repeat(300));
    expect(parse(kind, "0", what)).toEqual({ kind, sessionId: 0, what });
    expect(parse(kind, "-1", "")).toEqual({ kind, sessionId: -1, what: b("") });
    expect(() => parse(kind, "0", "x".repeat(301))).toThrow(
      `command ${kind}: the request has 301 bytes, not 0 to 300`,
    );
    expect(() => parse(kind, "x", "GET /")).toThrow(ProtocolError);
  }
});

test("a command of ours with a number that is none is a mistake", () => {
  for (const sessionId of [NaN, 1.5, Infinity]) {
    expect(() => encodeCommand({ kind: "close", sessionId })).toThrow(RangeError);
  }
});
