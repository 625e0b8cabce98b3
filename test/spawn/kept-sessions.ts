/**
 * Sessions that are kept for further requests (PROTOCOL section 11): what every loader owes a front
 * end, run by the test file of each.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import type { AppType } from "../../src/wire/app-request.ts";
import { until, within } from "../helpers/condition.ts";
import { untilGone } from "../helpers/processes.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { connected, get, notebook, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";

const kept = { SESSION_KEEP: "1" };
const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ ...kept, REQUEST_URI: path, ...more });

const endsSession = /^connection: close\r?$/im;

const chunkedPost = (body: string) =>
  Buffer.concat([
    to("/echo", { REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "chunked" }),
    Buffer.from(body),
  ]);

/** Reads one answer and not a byte more. @param bodiless whether none follows the head. */
async function readAnswer(session: OwnedFd, bodiless = false) {
  const fd = session.number;
  let text = "";
  while (!text.endsWith("\r\n\r\n")) text += await readExactly(fd, 1);
  const answer = parseAnswer(text);
  const valueOf = (name: string) =>
    answer.headers.find((line) => line.toLowerCase().startsWith(`${name}: `))?.split(": ")[1];
  if (bodiless) return { ...answer, framing: "none" };
  if (valueOf("transfer-encoding") === "chunked") {
    return { ...answer, framing: "chunked", body: await readChunks(fd) };
  }
  const length = valueOf("content-length");
  if (length === undefined) throw new Error(`the answer has no end: ${text}`);
  return { ...answer, framing: "length", body: await readExactly(fd, Number(length)) };
}

async function readChunks(fd: number): Promise<string> {
  let body = "";
  for (;;) {
    let line = "";
    while (!line.endsWith("\r\n")) line += await readExactly(fd, 1);
    const size = Number.parseInt(line, 16);
    const chunk = await readExactly(fd, size + 2);
    if (size === 0) return body;
    body += chunk.slice(0, size);
  }
}

async function ask(session: OwnedFd, bytes: Uint8Array) {
  await sendAll(session.number, bytes);
  return readAnswer(session);
}

/**
 * @param program what lies in `file`. It answers `/text` with `text`, `/stream` with `a` and then
 * `b` as a stream, `/none` with 204, `/echo` with the request's body, `/ignore` with `ignored`
 * without reading it, `/early` with `early ` and, when it has read the body, `read`, `/keep` with
 * the names of all headers it sees, `/wait` not before the client is gone, `/gone` with how often
 * that was, `/slow` with `slow` after a moment, `/wrong` with less than the length it names.
 */
export function keptSessions(appType: AppType, file: string, program: string): void {
  const directory = mkdtempSync(join(tmpdir(), "pool-"));
  const root = writeApp(directory, "app", { [file]: program });
  const { notify } = notebook();
  const spawner = new BuiltinSpawner({
    notify,
    writeOutput: () => {},
    baseDirectory: directory,
  });
  let next: Promise<Instance>;
  // Few enough to have all of them under way.
  const concurrency = appType === "rack" || appType === "wsgi" ? 1 : 32;
  const spawn = () => spawner.spawn(spawnRequest(root, { appType, concurrency }));
  // Each test gets a fresh one, which was started while the test before it ran.
  beforeAll(() => {
    next = spawn();
  });
  afterAll(async () => {
    (await next).release();
    await spawner.close(new AbortController().signal);
    rmSync(directory, { recursive: true });
  });
  const trial = (claim: string, run: (instance: Instance) => Promise<void>): void => {
    test(`kept session: ${claim}`, async () => {
      const instance = await next;
      next = spawn();
      try {
        await run(instance);
      } finally {
        instance.release();
      }
      await untilGone(instance.pid);
    });
  };
  answers(trial);
  bodies(trial);
  ends(trial);
}

type Trial = (claim: string, run: (instance: Instance) => Promise<void>) => void;

function answers(trial: Trial): void {
  trial("answers request after request, each with an end of its own", async (instance) => {
    using session = connected(instance);
    for (let turn = 0; turn < 3; turn += 1) {
      expect(await ask(session, to("/text"))).toMatchObject({ framing: "length", body: "text" });
      expect(await ask(session, to("/stream"))).toMatchObject({ framing: "chunked", body: "ab" });
    }
  });

  trial("goes on after an answer without a body", async (instance) => {
    using session = connected(instance);
    await sendAll(session.number, to("/none"));
    expect((await readAnswer(session, true)).status).toBe("Status: 204 No Content");
    for (const path of ["/text", "/stream"]) {
      await sendAll(session.number, to(path, { REQUEST_METHOD: "HEAD" }));
      expect((await readAnswer(session, true)).status).toBe("Status: 200 OK");
    }
    expect((await ask(session, to("/text"))).body).toBe("text");
  });

  trial("ends with the answer where the request does not ask to keep it", async (instance) => {
    using session = connected(instance);
    await ask(session, to("/text"));
    await sendAll(session.number, get({ REQUEST_URI: "/stream" }));
    const { headers, body } = parseAnswer(await readToEnd(session.number));
    expect(headers.join().toLowerCase()).not.toContain("transfer-encoding");
    expect(body).toBe("ab");
  });

  trial("shows the program nothing of it", async (instance) => {
    using session = connected(instance);
    const { body } = await ask(session, to("/keep", { HTTP_HOST: "a", HTTP_CONNECTION: "close" }));
    expect(body).toBe("host");
  });

  trial("answers a request that came before the answer to the last", async (instance) => {
    using session = connected(instance);
    const requests = [to("/slow"), post("1", { ...kept, REQUEST_URI: "/echo" }), to("/text")];
    await sendAll(session.number, Buffer.concat(requests));
    expect((await readAnswer(session)).body).toBe("slow");
    expect((await readAnswer(session)).body).toBe("1");
    expect((await readAnswer(session)).body).toBe("text");
  });

  trial("ends after an answer that is shorter than it said", async (instance) => {
    using session = connected(instance);
    await sendAll(session.number, to("/wrong"));
    expect(parseAnswer(await readToEnd(session.number)).body).toContain("short");
  });

  trial("counts for nothing while no request is on it", async (instance) => {
    const sessions = Array.from({ length: 2 * instance.concurrency }, () => connected(instance));
    for (const session of sessions) {
      expect((await ask(session, to("/text"))).body).toBe("text");
    }
    for (const session of sessions) session.close();
  });

  trial("waits for its turn when too many requests are under way", async (instance) => {
    using session = connected(instance);
    await ask(session, to("/text"));
    const busy = Array.from({ length: instance.concurrency }, () => connected(instance));
    for (const one of busy) await sendAll(one.number, to("/wait"));
    // The first may come before the last of them.
    const { answer } = await until("a request has to wait", async () => {
      const asked = ask(session, to("/text"));
      const first = await Promise.race([asked, Bun.sleep(50).then(() => "waiting")]);
      return first === "waiting" && { answer: asked };
    });
    for (const one of busy) one.close();
    expect((await within("the answer", answer)).body).toBe("text");
  });
}

function bodies(trial: Trial): void {
  trial("takes bodies by their length", async (instance) => {
    using session = connected(instance);
    for (const body of ["first", "", "x".repeat(300_000), "last"]) {
      const bytes = post(body, { ...kept, REQUEST_URI: "/echo" });
      expect((await ask(session, bytes)).body).toBe(body);
    }
  });

  trial("takes chunked bodies, and drops their trailers", async (instance) => {
    using session = connected(instance);
    const body = "3;x=y\r\nabc\r\n000a\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n";
    expect((await ask(session, chunkedPost(body))).body).toBe("abc0123456789");
    expect((await ask(session, chunkedPost("0\r\n\r\n"))).body).toBe("");
    expect((await ask(session, to("/text"))).body).toBe("text");
  });

  trial("takes a chunked body byte by byte", async (instance) => {
    using session = connected(instance);
    for (const byte of chunkedPost("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")) {
      await sendAll(session.number, new Uint8Array([byte]));
      if (byte % 8 === 0) await Bun.sleep(1);
    }
    expect((await readAnswer(session)).body).toBe("abc");
  });

  for (const body of ["x\r\n", "2\r\nabc\r\n", "1\nab", "1".repeat(5_000)]) {
    const shown = JSON.stringify(body.slice(0, 9));
    trial(`ends where chunks are broken: ${shown}`, async (instance) => {
      using session = connected(instance);
      await sendAll(session.number, chunkedPost(body));
      expect(await readToEnd(session.number)).not.toContain("200 OK");
    });
  }

  trial("goes on after a body that is here and that nobody has read", async (instance) => {
    using session = connected(instance);
    for (const path of ["/ignore", "/echo"]) {
      const answer = await ask(session, post("unread", { ...kept, REQUEST_URI: path }));
      expect(answer.headers.join()).not.toMatch(endsSession);
    }
  });

  for (const bytes of [700_000, 3_000_000]) {
    trial(`says that it ends where ${bytes} bytes are left unread`, async (instance) => {
      using session = connected(instance);
      const body = "b".repeat(bytes);
      await sendAll(session.number, post(body, { ...kept, REQUEST_URI: "/ignore" }));
      const answer = await readAnswer(session);
      expect(answer).toMatchObject({ framing: "length", body: "ignored" });
      expect(answer.headers.join("\n")).toMatch(endsSession);
      expect(await readToEnd(session.number)).toBe("");
      // To whom it would mean nothing it is not said.
      using other = connected(instance);
      await sendAll(other.number, post(body, { REQUEST_URI: "/ignore" }));
      expect(await readToEnd(other.number)).not.toMatch(endsSession);
    });
  }

  trial("says that it ends where the answer begins before the body is here", async (instance) => {
    using session = connected(instance);
    const request = { ...kept, REQUEST_URI: "/early", CONTENT_LENGTH: "4" };
    await sendAll(session.number, to("/early", { REQUEST_METHOD: "POST", ...request }));
    let text = "";
    while (!text.includes("early ")) text += await readExactly(session.number, 1);
    expect(text).toMatch(endsSession);
    await sendAll(session.number, Buffer.from("body"));
    expect(await readToEnd(session.number)).toBe("\r\n4\r\nread\r\n0\r\n\r\n");
  });

  trial("refuses a body that has a length and is chunked", async (instance) => {
    using session = connected(instance);
    const both = { CONTENT_LENGTH: "3", HTTP_TRANSFER_ENCODING: "chunked" };
    await sendAll(session.number, to("/echo", { REQUEST_METHOD: "POST", ...both }));
    const { status, headers } = parseAnswer(await readToEnd(session.number));
    expect(status).toBe("Status: 400 Bad Request");
    // Or a client that sees the answer's end sends its next request on what is closed.
    expect(headers.join().toLowerCase()).not.toMatch(/content-length|transfer-encoding/);
  });
}

function ends(trial: Trial): void {
  trial("ends at once on SIGUSR1 when no request is on it", async (instance) => {
    using session = connected(instance);
    await ask(session, to("/text"));
    process.kill(instance.pid, "SIGUSR1");
    expect(await readToEnd(session.number)).toBe("");
    await untilGone(instance.pid);
  });

  trial("ends after the answer on SIGUSR1", async (instance) => {
    using idle = connected(instance);
    await ask(idle, to("/text"));
    using session = connected(instance);
    await sendAll(session.number, to("/slow"));
    // Answered after it, on another session: the slow request has begun.
    await ask(idle, to("/text"));
    process.kill(instance.pid, "SIGUSR1");
    expect(await readToEnd(idle.number)).toBe("");
    expect((await readAnswer(session)).body).toBe("slow");
    expect(await readToEnd(session.number)).toBe("");
  });

  trial("goes on when the instance is let go, until its client ends it", async (instance) => {
    const session = connected(instance);
    await ask(session, to("/text"));
    instance.release();
    expect((await ask(session, to("/slow"))).body).toBe("slow");
    expect((await ask(session, to("/text"))).body).toBe("text");
    session.close();
    await untilGone(instance.pid);
  });

  trial("aborts the request of a client that is gone", async (instance) => {
    using other = connected(instance);
    const session = connected(instance);
    await ask(session, to("/text"));
    await sendAll(session.number, to("/wait"));
    await ask(other, to("/text"));
    session.close();
    await until("the program knows", async () => (await ask(other, to("/gone"))).body === "1");
  });

  trial("is let go by its client between two requests", async (instance) => {
    const session = connected(instance);
    await ask(session, to("/text"));
    session.close();
    using other = connected(instance);
    expect((await ask(other, to("/gone"))).body).toBe("0");
  });
}
