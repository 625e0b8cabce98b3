/**
 * A request over a session, against a scripted instance: both bodies, both ways, every way it can
 * break.
 */
import { describe, expect, test } from "bun:test";
import { receive, socketPair } from "../../src/native/socket.ts";
import { request, Session, SessionError, type SessionRequest } from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { rejection } from "./rejection.ts";
import { ScriptedInstance } from "./scripted-instance.ts";

countDescriptors();

const get: [string, string][] = [
  ["REQUEST_METHOD", "GET"],
  ["PATH_INFO", "/"],
];

function post(length?: number): [string, string][] {
  const headers: [string, string][] = [["REQUEST_METHOD", "POST"]];
  if (length !== undefined) headers.push(["CONTENT_LENGTH", String(length)]);
  return headers;
}

async function begin(options: SessionRequest) {
  const opened = await ScriptedInstance.open();
  return { ...opened, answer: request(opened.session, options) };
}

async function* pieces(...all: string[]): AsyncGenerator<Uint8Array> {
  for (const piece of all) yield Buffer.from(piece);
}

/** A body that never ends and says how much of it was taken, and whether it was given up. */
function endlessBody(): {
  body: AsyncIterable<Uint8Array>;
  taken: () => number;
  ended: () => boolean;
} {
  let taken = 0;
  let ended = false;
  const body = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        await Bun.sleep(0);
        taken += 65_536;
        return { done: false as const, value: new Uint8Array(65_536) };
      },
      async return() {
        ended = true;
        return { done: true as const, value: undefined };
      },
    }),
  };
  return { body, taken: () => taken, ended: () => ended };
}

describe("the request", () => {
  test("is the size, names and values with their NULs, and the end of our side", async () => {
    const { instance, answer } = await begin({ headers: get });
    const expected = "\0\0\0\x1fREQUEST_METHOD\0GET\0PATH_INFO\0/\0";
    await until("the end of the request", () => instance.sawEnd);
    expect(instance.received.toString("latin1")).toBe(expected);
    await instance.write("Status: 200 OK\r\n\r\n");
    instance.close();
    expect(await (await answer).text()).toBe("");
  });

  test("keeps our side open when CONTENT_LENGTH says where it ends", async () => {
    const { instance, answer } = await begin({ headers: post(5), body: Buffer.from("hello") });
    await instance.body("hello");
    await Bun.sleep(5);
    expect(instance.sawEnd).toBe(false);
    await instance.write("Status: 201 Made\r\n\r\nok");
    instance.close();
    expect(await (await answer).text()).toBe("ok");
  });

  const bodies: [string, () => NonNullable<SessionRequest["body"]>][] = [
    ["an array of bytes", () => Buffer.from("one two three")],
    ["an async iterable", () => pieces("one ", "two ", "three")],
    ["a stream", () => new Response("one two three").body ?? pieces()],
  ];
  for (const [name, body] of bodies) {
    test(`carries a body that is ${name}`, async () => {
      const { instance, answer } = await begin({ headers: post(), body: body() });
      await instance.body("one two three");
      await until("the end of the body", () => instance.sawEnd);
      await instance.write("Status: 200 OK\r\n\r\n");
      instance.close();
      expect((await answer).status).toBe(200);
      await (await answer).bytes();
    });
  }

  test("carries a large body whole through a slow instance", async () => {
    const body = Buffer.alloc(3_000_000);
    for (let i = 0; i < body.length; i += 1) body[i] = (i * 31) % 251;
    const { instance, answer } = await begin({ headers: post(body.length), body });
    for (let i = 0; i < 3; i += 1) {
      instance.pause();
      await Bun.sleep(5);
      instance.resume();
      await Bun.sleep(0);
    }
    await until("all of the body", () => instance.received.length > body.length);
    expect(instance.received.subarray(-body.length).equals(body)).toBe(true);
    await instance.write("Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
    expect((await answer).status).toBe(200);
    await until("our end", () => instance.sawEnd || instance.closed);
    instance.close();
  });

  test("reads a body no faster than the instance takes it", async () => {
    const source = endlessBody();
    const { instance, answer } = await begin({ headers: post(), body: source.body });
    instance.pause();
    let before = -1;
    while (source.taken() > before) {
      before = source.taken();
      await Bun.sleep(20);
    }
    // One socket buffer (some 200 KiB) and the pieces before and after it.
    expect(source.taken()).toBeLessThan(1_000_000);
    instance.close();
    expect(await rejection(answer)).toBeInstanceOf(SessionError);
    await until("the body to be given up", source.ended);
  });

  const refused: [string, SessionRequest, string][] = [
    ["a NUL in a header", { headers: [["A", "b\0c"]] }, "NUL"],
    ["a value that is not bytes", { headers: [["A", "\u20ac"]] }, "not bytes"],
    ["a CONTENT_LENGTH that is no number", { headers: [["CONTENT_LENGTH", "+5"]] }, "no length"],
    ["headers above 128 KiB", { headers: [["A", "x".repeat(131_072)]] }, "at most"],
  ];
  for (const [name, options, message] of refused) {
    test(`${name} is refused at once, and the session closed`, async () => {
      const { session, instance, closedSessions } = await ScriptedInstance.open();
      expect(() => void request(session, options)).toThrow(message);
      expect(closedSessions).toEqual([3]);
      await until("the stream to close", () => instance.sawEnd);
      expect(instance.received.length).toBe(0);
      instance.close();
    });
  }

  test("a body shorter or longer than CONTENT_LENGTH fails it", async () => {
    for (const body of [
      () => pieces("abc"),
      () => Buffer.from("abc"),
      () => pieces("abcde", "fgh"),
    ]) {
      const { instance, answer, closedSessions } = await begin({ headers: post(6), body: body() });
      const error = await rejection(answer);
      expect(error).toBeInstanceOf(SessionError);
      expect(String(error)).toMatch(/its body has (3 of|more than) the 6 bytes of CONTENT_LENGTH/);
      expect(closedSessions).toEqual([3]);
      instance.close();
    }
  });

  test("a body that fails fails it with its own error", async () => {
    const cause = new Error("disk on fire");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("abc");
      throw cause;
    }
    const { instance, answer, closedSessions } = await begin({ headers: post(), body: failing() });
    expect(await rejection(answer)).toBe(cause);
    expect(closedSessions).toEqual([3]);
    instance.close();
  });
});

describe("the answer", () => {
  test("is status, text, headers with repetitions in order, and the body", async () => {
    const { instance, answer, closedSessions } = await begin({ headers: get });
    await instance.request();
    await instance.write(
      "Status: 404 No such\r\nSet-Cookie: a\r\nX: \xe9\r\nSet-Cookie: b\r\n\r\nbody",
    );
    instance.close();
    const { status, statusText, headers, body } = await answer;
    expect([status, statusText]).toEqual([404, "No such"]);
    expect(headers.map(([name]) => name)).toEqual(["Set-Cookie", "X", "Set-Cookie"]);
    expect(await new Response(body).text()).toBe("body");
    expect(closedSessions).toEqual([3]);
  });

  test("arrives the same in any pieces", async () => {
    const whole = Buffer.from("Status: 200 OK\r\nA: b\r\nContent-Length: 4\r\n\r\nbody");
    for (let cut = 1; cut < whole.length; cut += 1) {
      const { instance, answer } = await begin({ headers: get });
      await instance.write(whole.subarray(0, cut));
      await Bun.sleep(0);
      await instance.write(whole.subarray(cut));
      const response = await answer;
      expect([...response.headers]).toEqual([
        ["A", "b"],
        ["Content-Length", "4"],
      ] as never);
      expect(await response.text()).toBe("body");
      instance.close();
    }
  });

  test("is whole at once when it came at once", async () => {
    const { instance, answer, closedSessions } = await begin({ headers: get });
    await instance.write("Status: 200 OK\r\nContent-Length: 4\r\n\r\nbody");
    const response = await answer;
    expect(closedSessions).toEqual([3]);
    expect(Buffer.from(response.takeWholeBody() ?? []).toString()).toBe("body");
    instance.close();
  });

  test("is not whole while some of it is missing", async () => {
    const { instance, answer } = await begin({ headers: get });
    await instance.write("Status: 200 OK\r\nContent-Length: 4\r\n\r\nbo");
    const response = await answer;
    expect(response.takeWholeBody()).toBeUndefined();
    await instance.write("dy");
    expect(await response.text()).toBe("body");
    instance.close();
  });

  test("counts although the instance closed before it read the request", async () => {
    const source = endlessBody();
    const { instance, answer, closedSessions } = await begin({
      headers: post(),
      body: source.body,
    });
    instance.pause();
    await instance.write(`Status: 413 Too large\r\n\r\n${"x".repeat(100_000)}`);
    instance.close();
    const response = await answer;
    expect(response.status).toBe(413);
    expect((await response.bytes()).length).toBe(100_000);
    expect(closedSessions).toEqual([3]);
    await until("the body to be given up", source.ended);
  });

  test("gives a request body up that waits for its next piece", async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      cancel: () => {
        cancelled = true;
      },
    });
    const { instance, answer } = await begin({ headers: post(), body });
    await instance.write("Status: 403 No\r\nContent-Length: 0\r\n\r\n");
    expect((await answer).status).toBe(403);
    await until("the body to be cancelled", () => cancelled);
    instance.close();
  });

  for (const [name, headers, head] of [
    ["HEAD", [["REQUEST_METHOD", "HEAD"]], "Status: 200 OK\r\nContent-Length: 9\r\n\r\n"],
    ["204", get, "Status: 204 No Content\r\n\r\n"],
    ["304", get, "Status: 304 Not Modified\r\nContent-Length: 9\r\n\r\n"],
  ] as [string, [string, string][], string][]) {
    test(`to ${name} has no body and does not wait for one`, async () => {
      const { instance, answer, closedSessions } = await begin({ headers });
      await instance.write(head);
      expect(await (await answer).text()).toBe("");
      expect(closedSessions).toEqual([3]);
      instance.close();
    });
  }

  test("ends at its Content-Length whatever follows", async () => {
    const { instance, answer } = await begin({ headers: get });
    await instance.write("Status: 200 OK\r\nContent-Length: 4\r\n\r\nbody and more");
    expect(await (await answer).text()).toBe("body");
    instance.close();
  });

  test("waits in the instance while nobody reads it, and arrives whole", async () => {
    const size = 5_000_000;
    const { instance, answer } = await begin({ headers: get });
    let written = 0;
    const body = Buffer.alloc(size, "x");
    void (async () => {
      await instance.write("Status: 200 OK\r\n\r\n");
      while (written < size) {
        await instance.write(body.subarray(written, written + 10_000));
        written += 10_000;
      }
      instance.close();
    })();
    const response = await answer;
    let before = -1;
    while (written > before) {
      before = written;
      await Bun.sleep(20);
    }
    // Our bound (256 KiB), one chunk of Bun's above it (512 KiB), two socket buffers.
    expect(written).toBeLessThan(2_000_000);
    let read = 0;
    for await (const chunk of response.body) read += chunk.length;
    expect(read).toBe(size);
  });
});

describe("a broken answer", () => {
  const heads: [string, string, RegExp, boolean][] = [
    ["none at all", "", /closed without one/, false],
    ["one that ends inside its head", "Status: 200 OK\r\nA", /ended inside its head/, true],
    ["no head", "hello\r\n\r\n", /is no header/, true],
    ["a Status that is none", "Status: fine\r\n\r\n", /Status is 'fine'/, true],
    ["a head above its bound", `A: ${"x".repeat(131_072)}`, /head exceeds/, true],
    ["two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", /Content-Length/, true],
    ["a length that is none", "Content-Length: -1\r\n\r\nx", /Content-Length/, true],
  ];
  for (const [name, bytes, message, answerBegan] of heads) {
    test(`rejects with SessionError: ${name}`, async () => {
      const { instance, answer, closedSessions } = await begin({ headers: get });
      await instance.request();
      await instance.write(bytes);
      instance.close();
      const error = await rejection(answer);
      expect(error).toBeInstanceOf(SessionError);
      expect(String(error)).toMatch(message);
      expect(String(error)).toStartWith("SessionError: request to instance 77: ");
      expect(error).toMatchObject({ answerBegan });
      expect(closedSessions).toEqual([3]);
    });
  }

  test("short of its Content-Length is an error after its bytes, never a silent end", async () => {
    const { instance, answer, closedSessions } = await begin({ headers: get });
    await instance.write("Status: 200 OK\r\nContent-Length: 10\r\n\r\n1234567");
    const response = await answer;
    const reader = response.body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("1234567");
    instance.close();
    const error = await rejection(reader.read());
    expect(String(error)).toContain("ended 3 bytes short of its Content-Length");
    expect(closedSessions).toEqual([3]);
  });
});

describe("giving up", () => {
  test("cancelling the body closes the session and the stream", async () => {
    const { instance, answer, closedSessions } = await begin({ headers: get });
    await instance.write("Status: 200 OK\r\n\r\nsome");
    const response = await answer;
    await response.body.cancel();
    expect(closedSessions).toEqual([3]);
    await instance.write("x".repeat(1_000_000)); // resolves because we are gone
    expect(instance.closed).toBe(true);
  });

  test("an abort before the answer rejects with the reason and closes the session", async () => {
    const controller = new AbortController();
    const options = { headers: get, signal: controller.signal };
    const { instance, answer, closedSessions } = await begin(options);
    await instance.request();
    controller.abort("enough");
    expect(await rejection(answer)).toBe("enough");
    expect(closedSessions).toEqual([3]);
    await until("the stream to close", () => instance.sawEnd);
    instance.close();
  });

  test("an abort inside the body errors the body", async () => {
    const controller = new AbortController();
    const options = { headers: get, signal: controller.signal };
    const { instance, answer, closedSessions } = await begin(options);
    await instance.write("Status: 200 OK\r\n\r\nsome");
    const reader = (await answer).body.getReader();
    await reader.read();
    controller.abort("enough");
    expect(await rejection(reader.read())).toBe("enough");
    expect(closedSessions).toEqual([3]);
    instance.close();
  });

  test("an abort from before sends nothing", async () => {
    const options = { headers: get, signal: AbortSignal.abort("old") };
    const { instance, answer, closedSessions } = await begin(options);
    expect(await rejection(answer)).toBe("old");
    expect(closedSessions).toEqual([3]);
    await until("the stream to close", () => instance.sawEnd);
    expect(instance.received.length).toBe(0);
    instance.close();
  });

  test("a session whose stream has been taken cannot carry a request", async () => {
    const [ours, theirs] = socketPair();
    const session = new Session(1, 1, ours, () => {});
    ours.close();
    const error = await rejection(request(session, { headers: get }));
    expect(String(error)).toContain("moved or closed");
    expect(receive(theirs.number, 1)).toBe("end");
    theirs.close();
  });
});
