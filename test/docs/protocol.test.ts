/**
 * docs/protocol.md against the code: the bytes it shows are those the encoders make and the
 * decoders read, and the keys it lists are those that `inspect` answers with.
 */
import { describe, expect, test } from "bun:test";

import { Pool } from "../../src/pool/pool.ts";
import { snapshotJson } from "../../src/status/json.ts";
import type { AppRequest } from "../../src/wire/app-request.ts";
import { fromText, toBytes } from "../../src/wire/bytes.ts";
import { encodeCommand, parseCommand, type Command } from "../../src/wire/commands.ts";
import { encodeConfigureOptions, parseConfigureOptions } from "../../src/wire/configure.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { encodeFork, encodeErrorPage, encodeStack } from "../../src/wire/instance-protocol.ts";
import { parseLifelineMessage } from "../../src/wire/instance-protocol.ts";
import {
  encodeRegistration,
  parseRegistration,
  registrationJson,
} from "../../src/wire/register.ts";
import * as replies from "../../src/wire/replies.ts";
import * as spawning from "../../src/wire/spawn-protocol.ts";
import { blocksOf, readDocument, sectionOf } from "./markdown.ts";
import {
  encodeDone,
  encodeReady,
  encodeSessionHeaders,
  parseSessionHeaders,
  encodeSpawnOk,
  encodeSpawnedInstance,
  parseSpawnServerCommand,
  encodeSpawnException,
} from "../helpers/peer-messages.ts";

const document = readDocument("docs/protocol.md");

const app: AppRequest = {
  root: fromText("/srv/app"),
  lowerPrivilege: false,
  lowestUser: fromText("nobody"),
  environment: fromText("production"),
  spawnMethod: "smart",
  appType: "rack",
};
const tag = fromText("7");
const page = toBytes(fromText("<p>no such file</p>"));

interface Example {
  /** What the code makes of it. */
  readonly encoded: Uint8Array;
  /** Reads it all from the stream; what comes out. */
  readonly read: (stream: Decoder) => unknown;
  readonly meaning: unknown;
}

function command(of: Command): Example {
  return { encoded: encodeCommand(of), read: (stream) => parseCommand(array(stream)), meaning: of };
}

function reply(encoded: Uint8Array, of: replies.Reply): Example {
  return { encoded, read: readReply, meaning: of };
}

function readReply(stream: Decoder): unknown {
  const { reply: parsed, pageFollows } = replies.parseReply(array(stream));
  return pageFollows ? { ...parsed, page: stream.nextScalar(1000) } : parsed;
}

function array(stream: Decoder) {
  const elements = stream.nextArray();
  if (elements === undefined) throw new Error("the message is not whole");
  return elements;
}

const itsKey = fromText("GZvQ2Jb5hO1cV7mXr0tLkw");
const noLuck = fromText("Cannot spawn application '/srv/app': no luck");
const busy = fromText("The application pool is too busy: 1 get is waiting already");
const wrong = fromText("configure: concurrency is 0, not a whole number from 1 to 100000");
const spawned = { pid: 4711, socketName: fromText("/tmp/app.4711"), abstract: false };
const headers = [
  [fromText("REQUEST_METHOD"), fromText("GET")],
  [fromText("PATH_INFO"), fromText("/")],
] as const;

const examples: Readonly<Record<string, Example>> = {
  get: command({ kind: "get", app }),
  close: command({ kind: "close", sessionId: 0 }),
  "set max": command({ kind: "setMax", max: 6 }),
  "get count": command({ kind: "getCount" }),
  "open descriptor channel": command({ kind: "openDescriptorChannel" }),
  "tagged get": command({ kind: "getTagged", tag, app }),
  cancel: command({ kind: "cancel", tag }),
  "kept get": command({ kind: "getKept", tag, app }),
  "sticky get": command({ kind: "getSticky", tag, token: itsKey, app }),
  keep: command({ kind: "keep", sessionId: 0 }),
  abandon: command({ kind: "abandon", sessionId: 0, what: fromText("GET /slow") }),
  long: command({ kind: "long", sessionId: 0 }),
  slow: command({ kind: "slow", sessionId: 0 }),
  served: command({ kind: "served", sessionId: 0, requests: 17 }),
  recall: reply(replies.encodeRecall(0), { kind: "recall", sessionId: 0 }),
  configure: {
    encoded: Buffer.concat([
      encodeCommand({ kind: "configure", root: app.root }),
      encodeConfigureOptions({ concurrency: 8 }),
    ]),
    read: (stream) => [
      parseCommand(array(stream)),
      parseConfigureOptions(stream.nextScalar(100) ?? new Uint8Array()),
    ],
    meaning: [{ kind: "configure", root: app.root }, { concurrency: 8 }],
  },
  register: {
    encoded: Buffer.concat([
      encodeCommand({ kind: "register", root: app.root }),
      encodeRegistration(
        registrationJson({
          lowerPrivilege: true,
          lowestUser: "nobody",
          environment: "production",
          spawnMethod: "smart",
          appType: "rack",
          options: { concurrency: 8 },
        }),
      ),
    ]),
    read: (stream) => [
      parseCommand(array(stream)),
      parseRegistration(app.root, stream.nextScalar(100) ?? new Uint8Array()),
    ],
    meaning: [
      { kind: "register", root: app.root },
      { app: { ...app, lowerPrivilege: true }, options: { concurrency: 8 } },
    ],
  },
  ok: reply(replies.encodeOk(4711, 0), { kind: "session", pid: 4711, sessionId: 0 }),
  "plain ok": reply(replies.encodePlainOk(), { kind: "ok" }),
  "sticky ok": reply(replies.encodeOk(4711, 0, tag, { key: itsKey }), {
    kind: "session",
    pid: 4711,
    sessionId: 0,
    tag,
    key: itsKey,
  }),
  "tagged ok": reply(replies.encodeOk(4711, 0, tag), {
    kind: "session",
    pid: 4711,
    sessionId: 0,
    tag,
  }),
  "tagged ok of a program": reply(replies.encodeOk(4711, 0, tag, { speaksHttp: true }), {
    kind: "session",
    pid: 4711,
    sessionId: 0,
    tag,
    speaksHttp: true,
  }),
  count: reply(replies.encodeDecimal(1), { kind: "decimal", value: 1 }),
  "spawn exception with a page": reply(encodeSpawnException(noLuck, page), {
    kind: "refusal",
    refusal: "SpawnException",
    message: noLuck,
    page: new Uint8Array(page),
  }),
  "busy exception": reply(replies.encodeRefusal("BusyException", busy), {
    kind: "refusal",
    refusal: "BusyException",
    message: busy,
  }),
  "configure error": reply(replies.encodeError(wrong), { kind: "error", message: wrong }),
  "spawn application": {
    encoded: spawning.encodeSpawnApplication(app),
    read: (stream) => parseSpawnServerCommand(array(stream)),
    meaning: { kind: "spawn_application", app },
  },
  reload: {
    encoded: spawning.encodeReload(app.root),
    read: (stream) => parseSpawnServerCommand(array(stream)),
    meaning: { kind: "reload", root: app.root },
  },
  spawned: {
    encoded: Buffer.concat([encodeSpawnOk(), encodeSpawnedInstance(spawned)]),
    read: (stream) => [
      spawning.parseSpawnAnswer(array(stream)),
      spawning.parseSpawnedInstance(array(stream)),
    ],
    meaning: ["ok", spawned],
  },
  "error page": {
    encoded: encodeErrorPage(page),
    read: (stream) => [spawning.parseSpawnAnswer(array(stream)), stream.nextScalar(1000)],
    meaning: ["error_page", new Uint8Array(page)],
  },
  "session headers": {
    encoded: encodeSessionHeaders(headers),
    read: (stream) => parseSessionHeaders(stream.nextScalar(1000) ?? new Uint8Array()),
    meaning: headers,
  },
  ready: {
    encoded: encodeReady(32, true),
    read: (stream) => parseLifelineMessage(array(stream)),
    meaning: { kind: "ready", concurrency: 32, reportsDone: true },
  },
  done: {
    encoded: encodeDone(1),
    read: (stream) => parseLifelineMessage(array(stream)),
    meaning: { kind: "done", sessions: 1 },
  },
  stack: {
    encoded: encodeStack(),
    read: (stream) => array(stream),
    meaning: ["stack"],
  },
  fork: {
    encoded: encodeFork(7),
    read: (stream) => array(stream),
    meaning: ["fork", "7"],
  },
  "lifeline error page": {
    encoded: encodeErrorPage(Buffer.from("error: boom")),
    read: (stream) => [parseLifelineMessage(array(stream)), stream.nextScalar(1000)],
    meaning: [{ kind: "error_page" }, new Uint8Array(Buffer.from("error: boom"))],
  },
};

interface Row {
  readonly bytes: Buffer;
  /** What stands behind the bar. */
  readonly says: string;
}

/** The rows of a block of bytes: hexadecimal, a bar, what it means. */
function rowsOf(block: string): Row[] {
  return block
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [, hex, says = ""] = /^((?:[0-9a-f]{2} ?)+) *\|(.*)$/.exec(line) ?? [];
      if (hex === undefined) throw new Error(`'${line}' is no row of bytes`);
      return { bytes: Buffer.from(hex.replaceAll(" ", ""), "hex"), says: says.trim() };
    });
}

/** Bytes that one remark is about: a row without one goes on with the row before it. */
function remarksOf(rows: readonly Row[]): Row[] {
  const remarks: Row[] = [];
  for (const { bytes, says } of rows) {
    const last = says === "" ? remarks.pop() : undefined;
    remarks.push(last ? { ...last, bytes: Buffer.concat([last.bytes, bytes]) } : { bytes, says });
  }
  return remarks;
}

/** The bytes in the words of the document: a length by what follows it, all else as text. */
function remarkFor(bytes: Buffer, shown: string): string {
  if (/^\d+ bytes follow$/.test(shown)) {
    return `${bytes.readUIntBE(0, bytes.length)} bytes follow`;
  }
  const text = bytes.toString("utf8");
  return text.endsWith("\0") ? `"${text.slice(0, -1)}" NUL` : text;
}

const blocks = new Map(
  blocksOf(document)
    .filter(({ info }) => info.startsWith("bytes "))
    .map(({ info, text }) => [info.slice("bytes ".length), text]),
);

test("every example in bytes is known here, and every one known here is in the document", () => {
  expect([...blocks.keys()].toSorted()).toEqual(Object.keys(examples).toSorted());
});

describe("the bytes that docs/protocol.md shows", () => {
  for (const [name, { encoded, read, meaning }] of Object.entries(examples)) {
    const rows = rowsOf(blocks.get(name) ?? "");
    const shown = Buffer.concat(rows.map(({ bytes }) => bytes));

    test(`${name}: are what the code sends`, () => {
      expect(shown.toString("hex")).toBe(Buffer.from(encoded).toString("hex"));
    });

    test(`${name}: mean to the code what they are said to mean`, () => {
      const stream = new Decoder();
      stream.push(shown);
      expect(read(stream)).toEqual(meaning);
      expect(stream.buffered).toBe(0);
    });

    test(`${name}: are what the remarks behind the bar say`, () => {
      for (const { bytes, says } of remarksOf(rows)) expect(remarkFor(bytes, says)).toBe(says);
    });
  }
});

/** Names of all keys in a JSON value. */
function keysOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(keysOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inside]) => [key, ...keysOf(inside)]);
}

/** A pool in which everything happens at once, so that no list in its snapshot is empty. */
function busyPool(): Pool {
  const pool = new Pool(
    { maxWaitMs: 0, maxQueue: 0, spawnsAtOnce: 3, slowSpawnMs: Infinity },
    { max: 2, useGlobalQueue: true },
  );
  const get = () =>
    pool.get(
      { root: app.root, options: app, restart: false, kept: false, expectedConcurrency: 1 },
      0,
    );
  for (let i = 0; i < 4; i += 1) {
    for (const effect of get().effects) {
      if (effect.kind !== "spawn") continue;
      if (i === 0) pool.spawnFailed(effect.spawn, { message: "no luck" }, 1);
      else if (i === 1) {
        pool.spawned(effect.spawn, { pid: 4711, concurrency: 1, reportsDone: true }, 2);
      }
    }
  }
  return pool;
}

/** What `inspect` answers of that pool. */
function answer(): unknown {
  return JSON.parse(Buffer.from(snapshotJson(busyPool().snapshot(3))).toString());
}

test("inspect: every key of the answer is listed in the document", () => {
  const keys = new Set(keysOf(answer()));
  for (const key of ["waiters", "failedConnects", "outdated", "agoMs", "rootBase64"]) {
    expect(keys, "the pool of this test shows everything").toContain(key);
  }
  const listed = new Set(sectionOf(document, "inspect").match(/(?<=`)\w+(?=`)/g));
  expect([...keys].filter((key) => !listed.has(key))).toEqual([]);
});

test("inspect: every name listed in the document is a key of the answer, or a state", () => {
  const keys = new Set(keysOf(answer()));
  const values = ["idle", "active", "busy", "leaving", "dead", "planned", "begun"];
  values.push("trying", "proven", "refused");
  const others = new Set([...values, "inspect", "null"]);
  const listed = sectionOf(document, "inspect").match(/(?<=`)\w+(?=`)/g) ?? [];
  expect(listed.filter((name) => !keys.has(name) && !others.has(name))).toEqual([]);
});
