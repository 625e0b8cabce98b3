/**
 * What instances of rack, wsgi and asgi applications say on their lifeline once they are ready
 * (PROTOCOL section 10): which sessions are over for them, and, asked, what they are doing.
 */
import { afterEach, expect, test } from "bun:test";

import { receive, send } from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { frame, readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { instanceByHand, Preloader, type Ends, type Kind } from "./loader-by-hand.ts";
import { arrays, get } from "./support.ts";

const temporaryDirectory = temporaryDirectories();
const opened: Disposable[] = [];

afterEach(() => {
  for (const one of opened.splice(0)) one[Symbol.dispose]();
});
countDescriptors();

/** `/hang` waits for the file `go-on`; `/fork` answers from a child too; `/body` ends in close. */
const programs: Readonly<Record<Kind, string>> = {
  rack: `
module Program
  def self.hanging_in_here
    sleep 0.01 until File.exist?("go-on")
  end
end
body = Class.new do
  def each
    yield "begun "
  end
  def close
    Program.hanging_in_here
  end
end
run lambda { |env|
  case env["PATH_INFO"]
  when "/hang" then Program.hanging_in_here
  when "/body" then next [200, {}, body.new]
  when "/fork"
    child = fork
    Process.wait(child) if child
  end
  [200, {}, ["ok"]]
}
`,
  wsgi: `
import os, time
def hanging_in_here():
    while not os.path.exists("go-on"):
        time.sleep(0.01)
class Body:
    def __iter__(self):
        yield b"begun "
    def close(self):
        hanging_in_here()
def application(environ, start):
    start("200 OK", [])
    path = environ["PATH_INFO"]
    if path == "/hang":
        hanging_in_here()
    if path == "/body":
        return Body()
    if path == "/fork":
        child = os.fork()
        if child:
            os.waitpid(child, 0)
    return [b"ok"]
`,
  asgi: `
import os, time
def hanging_in_here():
    while not os.path.exists("go-on"):
        time.sleep(0.01)
async def application(scope, receive, send):
    path = scope["path"]
    if path == "/hang":
        hanging_in_here()
    if path == "/fork":
        child = os.fork()
        if child:
            os.waitpid(child, 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/body":
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        hanging_in_here()
    await send({"type": "http.response.body", "body": b"ok"})
`,
};

interface Started {
  readonly ends: Ends;
  readonly goOn: () => Promise<unknown>;
}

async function start(kind: Kind, way: "by itself" | "forked"): Promise<Started> {
  const directory = temporaryDirectory();
  const goOn = () => Bun.write(`${directory}/app/go-on`, "");
  if (way === "by itself") {
    const ends = await instanceByHand(directory, kind, programs[kind]);
    opened.push(ends);
    return { ends, goOn };
  }
  const preloader = new Preloader(directory, kind, programs[kind]);
  opened.push(preloader);
  expect(await preloader.said()).toBe("ready 1");
  const ends = await preloader.fork();
  opened.push(ends);
  return { ends, goOn };
}

/** Whole lines only: the log is read while it is written. */
const hangs = /in .*hanging_in_here.*\n/;

const ways = [
  ["rack", "by itself"],
  ["rack", "forked"],
  ["wsgi", "by itself"],
  ["wsgi", "forked"],
  ["asgi", "by itself"],
  ["asgi", "forked"],
] as const;

/** How many sessions were said to be over, without waiting for more. */
function doneByNow(ends: Ends): number {
  const bytes = receive(ends.lifeline.number, 65_536);
  if (bytes === "empty") return 0;
  if (bytes === "end") throw new Error("the lifeline has ended");
  const numbers = arrays(bytes).map(([word, count]) => {
    if (word !== "done") throw new Error(`it said ${word}`);
    return Number(count);
  });
  return numbers.reduce((sum, number) => sum + number, 0);
}

const kept = (path: string) => get({ PATH_INFO: path, SESSION_KEEP: "1" });

test.each(ways)(
  "%s, %s: says that a session is over before its client sees it",
  async (kind, way) => {
    const { ends } = await start(kind, way);
    for (let turn = 0; turn < 20; turn += 1) {
      expect(await ends.ask("/")).toBe("ok");
      expect(doneByNow(ends)).toBe(1);
    }
  },
);

test.each(ways)("%s, %s: counts each connection once, whatever it was for", async (kind, way) => {
  const { ends } = await start(kind, way);
  ends.connect().close();
  const garbled = ends.connect();
  await sendAll(garbled.number, Buffer.from("garbage"));
  expect(await readToEnd(garbled.number)).toContain("400 Bad Request");
  garbled.close();
  const half = ends.connect();
  await sendAll(half.number, kept("/").subarray(0, 20));
  half.close();
  const unread = ends.connect();
  const big = { REQUEST_METHOD: "POST", CONTENT_LENGTH: "1000" };
  await sendAll(unread.number, get({ PATH_INFO: "/", ...big }));
  expect(await readToEnd(unread.number)).toEndWith("ok");
  unread.close();
  expect(await ends.ask("/")).toBe("ok");
  let sum = 0;
  await until("five are over", () => (sum += doneByNow(ends)) === 5);
  expect(await ends.ask("/")).toBe("ok");
  expect(doneByNow(ends)).toBe(1);
});

test.each(ways)("%s, %s: says it of a kept session at its end alone", async (kind, way) => {
  const { ends } = await start(kind, way);
  const session = ends.connect();
  for (let turn = 0; turn < 3; turn += 1) {
    await sendAll(session.number, kept("/"));
    let text = "";
    while (!text.endsWith("\r\n\r\nok")) text += await readExactly(session.number, 1);
  }
  expect(doneByNow(ends)).toBe(0);
  session.close();
  await until("it is over", () => doneByNow(ends) === 1);
});

test.each(ways)(
  "%s, %s: a session whose client has left goes on until the application has",
  async (kind, way) => {
    for (const path of ["/hang", "/body"]) {
      const { ends, goOn } = await start(kind, way);
      const session = ends.connect();
      await sendAll(session.number, get({ PATH_INFO: path }));
      if (path === "/body") await readToEndOf(session.number, "begun ");
      session.close();
      const stack = await until("it tells its stack", () => {
        send(ends.lifeline.number, frame("stack"));
        // The first ones may be of before it hung.
        return ends.log.split(/^(?=stack of thread )/m).find((told) => hangs.test(told));
      });
      expect(stack).toStartWith("stack of thread ");
      expect(stack).not.toContain("loaders/");
      expect(doneByNow(ends)).toBe(0);
      await goOn();
      await until("it is over", () => doneByNow(ends) === 1);
    }
  },
);

async function readToEndOf(stream: number, text: string): Promise<void> {
  let read = "";
  while (!read.endsWith(text)) read += await readExactly(stream, 1);
}

test.each(ways)("%s, %s: nothing is said by a child that comes back", async (kind, way) => {
  const { ends } = await start(kind, way);
  expect(await ends.ask("/fork")).toBe("ok");
  expect(doneByNow(ends)).toBe(1);
  expect(await ends.ask("/")).toBe("ok");
  expect(doneByNow(ends)).toBe(1);
});

test.each(ways)(
  "%s, %s: a server that does not read holds up nobody, and hears all later",
  async (kind, way) => {
    const { ends } = await start(kind, way);
    // Far more than its socket has room for, one message each.
    const sessions = 600;
    for (let turn = 0; turn < sessions; turn += 1) expect(await ends.ask("/")).toBe("ok");
    let sum = 0;
    await until(
      "all are told",
      () => (sum += doneByNow(ends)) === sessions,
      () => sum,
    );
  },
);
