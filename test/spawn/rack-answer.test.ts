/** Answers of rack applications: what is sent, what is not, and how sessions end. */
import { beforeAll, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application, unchecked } from "./rack-programs.ts";
import { ask, rackScene, to } from "./rack-scene.ts";
import { connected, exchange, parseAnswer } from "./support.ts";

const { directory, start, lines, isTold } = rackScene();
let instance: Instance;
let plain: Instance;

beforeAll(async () => {
  [instance, plain] = await Promise.all([
    start("app", { "config.ru": application }),
    start("plain", { "config.ru": unchecked, "file.txt": "from a file" }),
  ]);
});

test("answers with status, reason and every header, repeated ones too", async () => {
  const { status, headers, body } = await ask(instance, to("/cookies"));
  expect(status).toBe("Status: 201 Created");
  expect(headers).toContain("Set-Cookie: a=1");
  expect(headers).toContain("Set-Cookie: b=2");
  expect(headers).toContain("X-One: 1");
  expect(body).toBe("x");
  const arrays = await ask(plain, to("/arrays"));
  expect(arrays.headers).toContain("set-cookie: a=1");
  expect(arrays.headers).toContain("set-cookie: b=2");
});

test("sends bodies of several pieces, whatever their encodings", async () => {
  const bytes = Buffer.from("one tëxt \u00ff", "latin1").toString("latin1");
  expect((await ask(instance, to("/pieces"))).body).toBe(bytes.replace("ë", "\u00c3\u00ab"));
  const many = await ask(instance, to("/many"));
  expect(many.body).toBe("a\u00c3\u00ab\u00ff");
});

test("says the length of a body that is there as a whole", async () => {
  expect((await ask(plain, to("/proxy"))).headers).toContain("content-length: 5");
});

test("sends an answer that is larger than every buffer", async () => {
  expect((await ask(instance, to("/big"))).body.length).toBe(5_000_000);
});

test("sends a file of which the body only says the path", async () => {
  const { headers, body } = await ask(plain, to("/file"));
  expect(headers).toContain("content-length: 11");
  expect(body).toBe("from a file");
  expect((await ask(plain, to("/no-file"))).body).toBe("by each");
});

test.each(["", "wrapped"])(
  "sends an open file (%s) from where it stands, and no other of its name",
  async (how) => {
    const { headers, body } = await ask(plain, to(`/open-file?${how}`));
    expect(headers).toContain("content-length: 18");
    expect(body).toBe("first of this name");
  },
);

test("sends the head at once when the first piece is empty", async () => {
  using session = connected(plain);
  await sendAll(session.number, to("/flush"));
  expect(await readExactly(session.number, 44)).toEndWith("text/plain\r\n\r\n");
  await Bun.write(`${directory}/plain/go-on`, "");
  expect(await readToEnd(session.number)).toBe("at last");
});

test.each([
  ["205", "205 Reset Content", ["content-length: 0"], ""],
  ["304&content-length=7", "304 Not Modified", ["content-length: 7"], ""],
  ["204&content-length=7", "204 No Content", [], ""],
  ["799", "799", ["content-length: 4"], "body"],
])("answers %s by the rules of HTTP", async (query, status, headers, body) => {
  const answer = await ask(plain, to(`/answer?${query}`));
  expect(answer).toEqual({ status: `Status: ${status}`, headers, body });
});

test.each(["100", "103", "199"])(
  "never sends the status %s, which ends no request",
  async (code) => {
    expect((await ask(plain, to(`/answer?${code}`))).status).toBe(
      "Status: 500 Internal Server Error",
    );
    await isTold(`the status ${code} ends no request`);
  },
);

test("leaves out headers that Connection names", async () => {
  const query = "200&X-A=1&Connection=close, x-a,X-B&X-B=2&X-C=3";
  const { headers } = await ask(plain, to(`/answer?${query}`));
  expect(headers).toEqual(["X-C: 3", "content-length: 4"]);
});

test("answers HEAD without a body, with the headers of GET", async () => {
  const request = { REQUEST_METHOD: "HEAD" };
  const { headers, body } = await ask(plain, to("/head-with-body", request));
  expect(headers).toContain("content-type: text/plain");
  expect(body).toBe("");
});

test.each([
  ["/none", "Status: 204 No Content", []],
  ["/not-modified", "Status: 304 Not Modified", ['ETag: "1"']],
])("answers %s without a body", async (path, status, headers) => {
  expect(await ask(instance, to(path))).toEqual({ status, headers, body: "" });
});

test.each([
  ["/raise", "ArgumentError: raised <here>"],
  ["/throw", "UncaughtThrowError: uncaught throw :nobody"],
  ["/overflow", "SystemStackError: stack level too deep"],
  ["/failing-first", "RuntimeError: first broke"],
])("answers 500 to what %s raises, and tells it on stderr only", async (path, told) => {
  const { status, body } = await ask(instance, to(path));
  expect(status).toBe("Status: 500 Internal Server Error");
  expect(body).toBe("Internal Server Error\n");
  await isTold(told);
  await isTold("/app/config.ru:");
  expect(lines.filter((line) => line.includes("/rack/session.rb"))).toEqual([]);
});

test.each([
  ["/line-end", "the value of the header x-a would begin another line"],
  ["/nul", "the value of the header x-a would begin another line"],
  ["/name", "the header name"],
  ["/nil", "the status nil is none"],
  ["/status", "the status 0 is none"],
])("never sends what %s answers, but 500", async (path, told) => {
  const answer = await ask(plain, to(path));
  expect(answer).toMatchObject({ status: "Status: 500 Internal Server Error" });
  expect(answer.headers).toEqual(["content-type: text/plain", "content-length: 22"]);
  await isTold(told);
});

test("leaves out headers that are about a connection", async () => {
  expect((await ask(plain, to("/connection"))).headers).toEqual(["content-length: 1"]);
});

test("sends no more than the content length says, and tells of it", async () => {
  const { headers, body } = await ask(plain, to("/too-long"));
  expect(headers).toEqual(["content-length: 2"]);
  expect(body).toBe("ab");
  await isTold("the body is longer than its content length");
});

test("takes apart the chunks that an application makes itself", async () => {
  const { headers, body } = await ask(plain, to("/chunks"));
  expect(headers).toEqual([]);
  expect(body).toBe("abcde");
});

test("cuts an answer short whose body fails, closes the body, and tells it", async () => {
  expect(await exchange(instance, to("/failing-piece"))).toEndWith("begin");
  await isTold("stream broke");
});

async function closedSoFar(): Promise<number> {
  return Number((await ask(instance, to("/closed"))).body);
}

test("closes a body exactly once, sent or not", async () => {
  const before = await closedSoFar();
  await ask(instance, to("/pieces"));
  await ask(instance, to("/pieces", { REQUEST_METHOD: "HEAD" }));
  await ask(instance, to("/failing-first"));
  await exchange(instance, to("/failing-piece"));
  expect(await closedSoFar()).toBe(before + 4);
});

test("stops producing an answer that nobody takes any more, and says nothing", async () => {
  const before = await closedSoFar();
  const session = connected(instance);
  await sendAll(session.number, to("/endless"));
  await readExactly(session.number, 1_000);
  session.close();
  await until("the body is closed", async () => (await closedSoFar()) > before);
  expect(lines.filter((line) => /EPIPE|ClientGone|Broken pipe/.test(line))).toEqual([]);
});

test("answers a client whose body nobody reads, and takes the rest of it in", async () => {
  using session = connected(instance);
  const size = 400_000;
  const beginning = to("/ignore", { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(size) });
  await sendAll(session.number, Buffer.concat([beginning, Buffer.alloc(size, "b")]));
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("did not read");
});

test("serves others while a client neither sends nor leaves after its answer", async () => {
  using session = connected(instance);
  const beginning = to("/ignore", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "1000" });
  await sendAll(session.number, beginning);
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("did not read");
  expect((await ask(instance, to("/none"))).status).toBe("Status: 204 No Content");
});

test.each([
  ["/streaming", "from call"],
  ["/partial", "hijacked"],
])("gives the connection of %s to the application after the head", async (path, body) => {
  const answer = await ask(plain, to(path));
  expect(answer).toEqual({
    status: "Status: 200 OK",
    headers: ["content-type: text/plain"],
    body,
  });
});

test("gives the whole connection to an application that hijacks it", async () => {
  const answer = await ask(
    plain,
    Buffer.concat([to("/full", { REQUEST_METHOD: "POST" }), Buffer.from("you")]),
  );
  expect(answer).toEqual({ status: "Status: 200 OK", headers: [], body: "I say you" });
});

test("passes no descriptor and no changed signal to what the application starts", async () => {
  const { body } = await ask(instance, to("/child"));
  const [descriptors = "", signals = ""] = body.split("SigBlk");
  expect(descriptors.trim().split("\n")).toEqual(["0", "1", "2", "3"]);
  expect(signals).toMatch(/:\s*0+\nSigIgn:\s*0+800\n/);
});

test("leaves nothing of its own to a process that the application forks", async () => {
  // The answer ends, although that process lives on.
  const { status, body } = await ask(instance, to("/fork"));
  expect(status).toBe("Status: 200 OK");
  expect(body).toContain("/dev/null");
  expect(body).not.toContain("socket:");
});

test("holds 500 connections; those who come later wait until one of them goes", async () => {
  const held = Array.from({ length: 500 }, () => connected(instance));
  using late = connected(instance);
  await sendAll(late.number, to("/closed"));
  const answered = readToEnd(late.number);
  const [first, ...others] = held;
  const open = () => openDescriptors(instance.pid).size;
  await until("all are held", () => open() >= 505, open);
  expect(await Promise.race([answered, Bun.sleep(50).then(() => "waits")])).toBe("waits");
  first?.close();
  expect(parseAnswer(await answered).status).toBe("Status: 200 OK");
  for (const one of others) one.close();
});

test("lets a fork that comes back to it leave, without a word", async () => {
  const before = lines.length;
  expect((await ask(instance, to("/fork-returns"))).body).toBe("0");
  expect(lines.slice(before)).toEqual([]);
});

function sockets(): string[] {
  return [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:"));
}

test("holds no descriptor of a session that is over", async () => {
  await until("only listener and lifeline are left", () => sockets().length === 2, sockets);
});
