/**
 * Sessions that an application takes over (Rack's specification, Hijacking and Streaming Body):
 * after it they are bytes both ways, and others are served meanwhile.
 */
import { afterEach, beforeAll, expect, test } from "bun:test";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { sendSignal } from "../../src/native/process.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { untilGone } from "../helpers/processes.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { rackScene, to } from "./rack-scene.ts";
import { connected, endWriting } from "./support.ts";

const { start, isTold } = rackScene();
const SIGUSR1 = 10;
let instance: Instance;
const open: OwnedFd[] = [];

/** Echoes line by line from a thread of its own until its client ends; `env` is kept for later. */
const source = `
echo = lambda { |io|
  Thread.new do
    while (line = io.gets)
      io.write("echo #{line}")
      io.flush
    end
    io.close
  end
}
switching = { "Upgrade" => "echo", "Connection" => "Upgrade" }
last = nil
run lambda { |env|
  case env["PATH_INFO"]
  when "/full"
    io = env["rack.hijack"].call
    io.write("HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n")
    echo.call(io)
    [-1, {}, []]
  when "/partial" then [101, switching.merge("rack.hijack" => echo), []]
  when "/streaming-101" then [101, switching, echo]
  when "/raw"
    four = lambda { |io| io.write("four"); io.close }
    [200, { "content-length" => "4", "rack.hijack" => four }, []]
  when "/partial-fails"
    [200, { "rack.hijack" => lambda { |io| io.write("begun"); raise "lost it" } }, []]
  when "/no-hijack" then [101, switching, []]
  when "/stream"
    [200, {}, lambda { |out| out << "one "; out.write("two ", "three"); out.close }]
  when "/stream-later"
    [200, {}, lambda { |out|
      Thread.new do
        sleep 0.01 until File.exist?("go-on")
        out << "later"
        out.close
      end
    }]
  when "/stream-fails" then [200, {}, lambda { |out| out << "begun"; raise "broke off" }]
  when "/stream-reads" then [200, {}, lambda { |out| out << out.read << " read"; out.close }]
  when "/remember"
    last = env
    [200, {}, ["remembered"]]
  when "/late"
    [200, {}, [begin; last["rack.hijack"].call; rescue IOError => e; e.message; end]]
  else [200, {}, ["quick"]]
  end
}
`;

beforeAll(async () => {
  instance = await start("app", { "config.ru": source });
});

afterEach(() => {
  for (const session of open.splice(0)) session.close();
});

const upgrade = { HTTP_UPGRADE: "echo", HTTP_CONNECTION: "Upgrade", SESSION_KEEP: "1" };

async function sent(
  target: string,
  more: Readonly<Record<string, string>> = upgrade,
  of = instance,
) {
  const session = connected(of);
  open.push(session);
  await sendAll(session.number, to(target, more));
  return session;
}

async function echoes(session: OwnedFd, line: string): Promise<void> {
  await sendAll(session.number, Buffer.from(`${line}\n`));
  expect(await readExactly(session.number, line.length + 6)).toBe(`echo ${line}\n`);
}

async function isQuick(of = instance): Promise<void> {
  const session = await sent("/", { SESSION_KEEP: "1" }, of);
  expect((await nextAnswer(session)).body).toBe("quick");
}

const cgi = "Status: 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n";

test.each([
  ["/full", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
  ["/partial", cgi],
  ["/streaming-101", cgi],
])("a session that %s takes over is bytes both ways, and others are served", async (path, head) => {
  const session = await sent(path);
  expect(await readHead(session)).toBe(head);
  for (const line of ["first", "second"]) {
    await echoes(session, line);
    await isQuick();
  }
  endWriting(session.number);
  expect(await readToEnd(session.number)).toBe("");
});

test("bytes that come with the request are there for the one that takes over", async () => {
  const session = connected(instance);
  open.push(session);
  await sendAll(session.number, Buffer.concat([to("/full", upgrade), Buffer.from("early\n")]));
  expect(await readHead(session)).toStartWith("HTTP/1.1 101 ");
  expect(await readExactly(session.number, "echo early\n".length)).toBe("echo early\n");
});

test("the framing that an application gives its own bytes is passed on", async () => {
  const { head, body } = await nextAnswer(await sent("/raw"));
  expect(head).toContain("content-length: 4");
  // The application ends it when it likes: nobody may send another request on it.
  expect(head).toContain("connection: close");
  expect(body).toBe("four");
});

test("what fails after it took the session over ends it, and is told", async () => {
  expect(await readToEnd((await sent("/partial-fails")).number)).toEndWith("begun");
  await isTold("lost it");
  await isQuick();
});

test("a 101 that hands nothing over is an error", async () => {
  const { head } = await nextAnswer(await sent("/no-hijack"));
  expect(head).toStartWith("Status: 500");
  await isTold("a status 101 hands no connection over");
});

test("a streaming body is framed, and says itself where it ends", async () => {
  const kept = { SESSION_KEEP: "1" };
  const { head, body } = await nextAnswer(await sent("/stream", kept));
  expect(head).toContain("transfer-encoding: chunked\r\n");
  expect(head).toContain("connection: close");
  expect(body).toBe("one two three");
  const unkept = await readToEnd((await sent("/stream", {})).number);
  expect(unkept).toBe("Status: 200 OK\r\n\r\none two three");
  const reads = { ...kept, REQUEST_METHOD: "POST", CONTENT_LENGTH: "4" };
  const session = await sent("/stream-reads", reads);
  await sendAll(session.number, Buffer.from("body"));
  expect((await nextAnswer(session)).body).toBe("body read");
});

test("a streaming body has its head sent at once, and may be written later", async () => {
  const later = await start("later", { "config.ru": source });
  const session = await sent("/stream-later", { SESSION_KEEP: "1" }, later);
  expect(await readHead(session)).toContain("transfer-encoding: chunked");
  await isQuick(later);
  const root = (await nextRoot(later)).trim();
  await Bun.write(`${root}/go-on`, "");
  expect(await readToEnd(session.number)).toBe("5\r\nlater\r\n0\r\n\r\n");
});

async function nextRoot({ pid }: Instance): Promise<string> {
  return Bun.spawnSync(["readlink", `/proc/${pid}/cwd`]).stdout.toString();
}

test("a streaming body that breaks off does not look whole", async () => {
  expect(await readToEnd((await sent("/stream-fails")).number)).toEndWith("5\r\nbegun\r\n");
  await isTold("broke off");
});

test("a request that is over has no connection to take", async () => {
  const session = await sent("/remember", { SESSION_KEEP: "1" });
  expect((await nextAnswer(session)).body).toBe("remembered");
  expect((await nextAnswer(await sent("/late"))).body).toContain("the request is over");
  await sendAll(session.number, to("/", { SESSION_KEEP: "1" }));
  expect((await nextAnswer(session)).body).toBe("quick");
});

test.each([
  ["SIGUSR1", (one: Instance) => sendSignal(one.pid, SIGUSR1)],
  ["its lifeline's end", (one: Instance) => one.release()],
])("on %s it stays until those that were taken over have ended", async (_, tell) => {
  const leaving = await start(`leaving-${open.length}`, { "config.ru": source });
  const session = await sent("/partial", upgrade, leaving);
  await readHead(session);
  await echoes(session, "before");
  tell(leaving);
  await until("it refuses others", () => {
    try {
      connected(leaving).close();
      return false;
    } catch {
      return true;
    }
  });
  await echoes(session, "after");
  session.close();
  open.length = 0;
  await untilGone(leaving.pid);
});
