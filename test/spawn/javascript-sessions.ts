/** What sessions of node and of bun applications have in common: run by the test file of each. */
import { expect, test } from "bun:test";

import { send } from "../../src/native/socket.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { connected, exchange, get, head, parseAnswer, post } from "./support.ts";

/** A request for a path of the program. */
export const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, ...more });

/** What is wrong with a request, the request, and a part of what is said of it. */
type Refused = readonly [what: string, bytes: Uint8Array, why: string];

const refusedByBoth: readonly Refused[] = [
  ["no headers at all", head({}), "the headers do not end with a NUL"],
  ["no method", head({ REQUEST_URI: "/" }), "REQUEST_METHOD is missing"],
  ["a name without a value", frame("REQUEST_METHOD\0GET\0ALONE\0"), "a header lacks its value"],
  ["no last NUL", frame("REQUEST_METHOD\0GET"), "the headers do not end with a NUL"],
  ["an empty name", frame("REQUEST_METHOD\0GET\0\0x\0"), "a header lacks its name"],
  ["a size beyond the limit", Buffer.from([0, 2, 0, 1]), "headers of 131073 bytes, 131072 at most"],
  ["a length that is none", get({ CONTENT_LENGTH: "-1" }), "CONTENT_LENGTH is not a length"],
  ["a line end in a header", get({ HTTP_X: "a\r\nb: c" }), '"HTTP_X" holds a line end'],
  ["a method that is none", get({ REQUEST_METHOD: "A B" }), "the method A B cannot be served"],
];

function frame(payload: string): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(payload.length);
  return Buffer.concat([size, Buffer.from(payload, "latin1")]);
}

/** @param instance of a program that answers /text, /echo, /count, /big, /ignore and /wait. */
export function javascriptSessions(instance: () => Instance, refused: readonly Refused[]): void {
  const ask = async (bytes: Uint8Array) => parseAnswer(await exchange(instance(), bytes));
  const sockets = () =>
    [...openDescriptors(instance().pid).values()].filter((what) => what.startsWith("socket:"));

  test("reads a body by its length, without waiting for the client's end", async () => {
    using session = connected(instance());
    await sendAll(session.number, post("hello", { REQUEST_URI: "/echo" }));
    const { body } = parseAnswer(await readToEnd(session.number));
    expect(JSON.parse(body)).toMatchObject({ method: "POST", body: "hello" });
  });

  test("reads a request that arrives byte by byte", async () => {
    using session = connected(instance());
    for (const byte of post("hi", { REQUEST_URI: "/echo" })) {
      send(session.number, new Uint8Array([byte]));
      if (byte % 16 === 0) await Bun.sleep(1);
    }
    expect(JSON.parse(parseAnswer(await readToEnd(session.number)).body).body).toBe("hi");
  });

  test("streams a body that is larger than every buffer", async () => {
    const size = 3_000_000;
    using session = connected(instance());
    const start = to("/count", { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(size) });
    await sendAll(session.number, start);
    await sendAll(session.number, Buffer.alloc(size, "b"));
    expect(parseAnswer(await readToEnd(session.number)).body).toBe(String(size));
  });

  test("sends an answer that is larger than every buffer", async () => {
    expect((await ask(to("/big"))).body.length).toBe(5_000_000);
  });

  test("answers a client whose body nobody reads, and takes the rest of it in", async () => {
    using session = connected(instance());
    const size = 400_000;
    const start = to("/ignore", { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(size) });
    await sendAll(session.number, Buffer.concat([start, Buffer.alloc(size, "b")]));
    expect(parseAnswer(await readToEnd(session.number)).body).toBe("did not read");
  });

  test.each([...refusedByBoth, ...refused])(
    "refuses a request with %s and goes on serving",
    async (_, bytes, why) => {
      const { status, body } = await ask(bytes);
      expect(status).toBe("Status: 400 Bad Request");
      expect(body).toContain(why);
      expect((await ask(to("/text"))).status).toBe("Status: 200 OK");
    },
  );

  test("answers a method that it cannot tell the program of with 501", async () => {
    const { status, body } = await ask(get({ REQUEST_METHOD: "VIEW" }));
    expect(status).toBe("Status: 501 Not Implemented");
    expect(body).toContain("the method VIEW cannot be served");
  });

  test("says nothing to a client that leaves before its head is whole", async () => {
    expect(await exchange(instance(), get().subarray(0, 9))).toBe("");
    expect(await exchange(instance(), new Uint8Array(0))).toBe("");
  });

  test("serves others while a client neither reads nor leaves", async () => {
    using session = connected(instance());
    await sendAll(session.number, to("/big"));
    expect((await ask(to("/text"))).status).toBe("Status: 200 OK");
  });

  test("serves at most its concurrency at once, the rest in their turn", async () => {
    const waiting = Array.from({ length: instance().concurrency }, () => connected(instance()));
    for (const session of waiting) await sendAll(session.number, to("/wait"));
    const late = exchange(instance(), to("/text"));
    const first = await Promise.race([late, Bun.sleep(100).then(() => "still waiting")]);
    expect(first).toBe("still waiting");
    for (const session of waiting) session.close();
    expect(parseAnswer(await late).status).toBe("Status: 200 OK");
  });

  test("holds no descriptor of a session that is over", async () => {
    await until("only listener and lifeline are left", () => sockets().length === 2, sockets);
  });
}
