/**
 * The commands read without strings mean what the table says they mean, whatever came before them.
 */
import { describe, expect, test } from "bun:test";

import { ascii, type ByteString } from "../../src/wire/bytes.ts";
import { encodeCommand, parseCommand } from "../../src/wire/commands.ts";
import { HotCommands } from "../../src/wire/hot-commands.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";

function payload(...elements: string[]): Uint8Array {
  return Buffer.from(elements.map((element) => `${element}\0`).join(""), "latin1");
}

/** Reads the payload from the middle of a larger buffer, as it lies in a chunk. */
function read(commands: HotCommands, bytes: Uint8Array) {
  const chunk = Buffer.concat([Buffer.from("ab"), bytes, Buffer.from("cd")]);
  return commands.read(chunk, 2, 2 + bytes.length);
}

function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    if (error instanceof ProtocolError) return `error: ${error.message}`;
    throw error;
  }
}

const app = ["/srv/a", "false", "nobody", "production", "smart", "rack"];
const other = ["/srv/b", "true", "nobody", "production", "smart", "rack"];

describe("hot commands", () => {
  test("what is remembered of a get stays as it was when its memory is used again", () => {
    const commands = new HotCommands();
    const memory = Buffer.alloc(payload("get", ...app).length);
    for (const elements of [app, ["/srv/b", ...app.slice(1)]]) {
      memory.set(payload("get", ...elements));
      expect(commands.read(memory, 0, memory.length)).toEqual(
        parseCommand(["get", ...elements] as ByteString[]),
      );
    }
  });

  test("every message means the same as parsed anew, in any order", () => {
    const messages = [
      payload("get", ...app),
      payload("get", ...app),
      payload("getTagged", "t1", ...app),
      payload("getTagged", "t2", ...app),
      payload("get", ...other),
      payload("get", ...app),
      payload("getTagged", "x".repeat(32), ...app),
      payload("getTagged", "x".repeat(33), ...app),
      payload("getTagged", "", ...app),
      payload("getTagged", "a", "b", ...app),
      payload("getTaggee", "t1", ...app),
      payload("getKept", "t1", ...other),
      payload("getKept", "t2", ...other),
      payload("getTagged", "t3", ...other),
      payload("getKept", "x".repeat(33), ...other),
      payload("getKept", "", ...other),
      payload("getKepu", "t1", ...other),
      payload("keep", "1"),
      payload("keep", "00012"),
      payload("keep", "-1"),
      payload("keep", ""),
      payload("keep"),
      payload("keeq", "1"),
      payload("getKept", "t1", ...app),
      payload("got", ...app),
      payload("get", "", ...app),
      payload("get", "extra", ...app),
      payload("close", "0"),
      payload("close", "00012"),
      payload("close", "123456789012345"),
      payload("close", "12345678901234567890"),
      payload("close", "-1"),
      payload("close", "1x"),
      payload("close", ""),
      payload("close", "1", "2"),
      payload("close"),
      payload("clear"),
      payload("long", "1"),
      payload("abandon", "1", "GET /"),
      payload("overdue", "1", ""),
      payload("overdue", "1"),
      payload("closf", "1"),
      payload("get", "/srv/\xff\xfe", ...app.slice(1)),
      payload("get", "/srv/\xff\xfe", ...app.slice(1)),
      payload("getTagged", "\xff", "/srv/\xff\xfe", ...app.slice(1)),
    ];
    const seed = 7;
    let state = seed;
    const random = (): number => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return state / 2147483648;
    };
    const commands = new HotCommands();
    for (let i = 0; i < 5000; i += 1) {
      const bytes = messages[Math.floor(random() * messages.length)] ?? messages[0];
      if (bytes === undefined) throw new Error("no message");
      const elements = Buffer.from(bytes)
        .toString("latin1", 0, bytes.length - 1)
        .split("\0");
      const expected = outcome(() => parseCommand(elements as ByteString[]));
      expect(outcome(() => read(commands, bytes))).toEqual(expected);
    }
  });

  test("a repeated get shares its application with the one before", () => {
    const commands = new HotCommands();
    const first = read(commands, payload("get", ...app));
    const second = read(commands, payload("getTagged", "t", ...app));
    if (first.kind !== "get" || second.kind !== "getTagged") throw new Error("not gets");
    expect(second.app).toBe(first.app);
  });

  test("what the client library encodes is read back", () => {
    const bytes = encodeCommand({ kind: "close", sessionId: 42 }).subarray(2);
    expect(read(new HotCommands(), bytes)).toEqual({ kind: "close", sessionId: 42 });
    const tag = ascii("t");
    const cancel = encodeCommand({ kind: "cancel", tag }).subarray(2);
    expect(read(new HotCommands(), cancel)).toEqual({ kind: "cancel", tag });
  });
});
