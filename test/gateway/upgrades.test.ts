/** Protocols that visitors change to: bytes both ways, through the binary's own parts. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../helpers/condition.ts";
import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway, RawVisitor } from "./proxied.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Says it all back, in capitals; ends its side when it is told so, or when the visitor has. */
const program = `
  const http = require("node:http");
  let ended = 0;
  const server = http.createServer((request, response) => {
    response.end(request.url === "/ended" ? String(ended) : "plain " + request.headers.upgrade);
  });
  server.on("upgrade", (request, socket, head) => {
    const said = request.url === "/no"
      ? ["403 Forbidden", "Content-Length: 2", "", "no"]
      : ["101 Switching Protocols", "Connection: Upgrade", "Upgrade: shout", "X-A: b", "", ""];
    socket.write("HTTP/1.1 " + said.join("\\r\\n"));
    if (request.url === "/no") return socket.end();
    socket.write(head);
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      socket.write(text.toUpperCase());
      if (text.includes("bye")) socket.end();
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => { ended += 1; });
    socket.on("error", () => {});
  });
  server.listen(3000);
`;

async function withApp(body: (gateway: ProxiedGateway) => Promise<void>): Promise<void> {
  const changes = { type: "node", options: { maxInstances: 1 } } as const;
  const apps = { main: program };
  await using gateway = ProxiedGateway.start(temporaryDirectory(), apps, {}, [], changes);
  await body(gateway);
}

const upgrade = "Connection: Upgrade\r\nUpgrade: shout\r\n";

async function open(gateway: ProxiedGateway): Promise<RawVisitor> {
  const visitor = await gateway.connect();
  visitor.get("/", upgrade);
  await visitor.has("\r\n\r\n");
  return visitor;
}

/** By the binary, with a visitor who has changed the protocol; for so long he may stay. */
async function withUpgradedTime(time: string) {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(join(root, "tmp"), { recursive: true });
  writeFileSync(join(root, "app.js"), program);
  const file = join(directory, "pool.toml");
  const text = `listen = ["127.0.0.1:0"]\nupgraded_time = "${time}"\n[[apps]]\nroot = "app"\n`;
  writeFileSync(file, text);
  const gateway = startGateway(["--config", file]);
  const port = Number(new URL(await gateway.address()).port);
  const visitor = await RawVisitor.connect(port);
  visitor.get("/", upgrade);
  await visitor.has("\r\n\r\n");
  return { gateway, root, port, visitor };
}

describe("an upgrade", () => {
  test("reaches the application; its head and bytes reach the visitor, and the other way round", () =>
    withApp(async (gateway) => {
      const visitor = await open(gateway);
      expect(visitor.received).toStartWith("HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\n");
      expect(visitor.received).toContain("\r\nConnection: Upgrade\r\nUpgrade: shout\r\n");
      visitor.send("one ");
      await visitor.has("ONE ");
      visitor.send("two");
      await visitor.has("TWO");
      visitor.leave();
      await until("the application is told", async () => {
        return (await (await gateway.fetch("/ended")).text()) === "1";
      });
      await until("the visit is over", () => gateway.done.length > 1);
      expect(gateway.done.find(({ status }) => status === 101)).toMatchObject({ bytes: 7 });
    }));

  test("bytes that come with the request, before the answer, are not lost", () =>
    withApp(async (gateway) => {
      const visitor = await gateway.connect();
      visitor.send(`GET / HTTP/1.1\r\nHost: a\r\n${upgrade}\r\nearly`);
      await visitor.has("EARLY");
      visitor.leave();
    }));

  test("either side may end its own: the application first", () =>
    withApp(async (gateway) => {
      const visitor = await open(gateway);
      visitor.send("bye");
      await visitor.has("BYE");
      await visitor.end();
      expect(visitor.ended).toBe("end");
      visitor.leave();
    }));

  test("that is refused is an answer like others", () =>
    withApp(async (gateway) => {
      const visitor = await gateway.connect();
      visitor.get("/no", upgrade);
      await visitor.has("\r\n\r\nno");
      expect(visitor.received).toStartWith("HTTP/1.1 403 Forbidden\r\n");
      visitor.leave();
    }));

  test("nobody has asked for is none: h2c, TLS, without Connection, from HTTP/1.0", () =>
    withApp(async (gateway) => {
      for (const [version, headers] of [
        ["1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"],
        ["1.1", "Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n"],
        ["1.1", "Upgrade: shout\r\n"],
        ["1.0", upgrade],
      ]) {
        const visitor = await gateway.connect();
        visitor.send(`GET / HTTP/${version}\r\nHost: a\r\n${headers}\r\n`);
        await visitor.has("plain undefined");
        visitor.leave();
      }
    }));

  test("takes no place: many of them are open on one process, which serves others beside", () =>
    withApp(async (gateway) => {
      const visitors = [];
      for (let i = 0; i < 50; i += 1) visitors.push(await open(gateway));
      for (const visitor of visitors) visitor.send("hi");
      for (const visitor of visitors) await visitor.has("HI");
      expect(await (await gateway.fetch("/")).text()).toBe("plain undefined");
      for (const visitor of visitors) visitor.leave();
    }));
});

test("bytes go as fast as the other side takes them, both ways, and none is lost", () =>
  withApp(async (gateway) => {
    const visitor = await open(gateway);
    const before = visitor.received.length;
    const megabyte = Buffer.alloc(1024 * 1024, "a");
    await visitor.sendAll(Array.from({ length: 16 }, () => megabyte));
    const whole = 16 * megabyte.length;
    await until("all of it is back", () => visitor.received.length - before >= whole);
    expect(visitor.received.slice(before)).toBe("A".repeat(whole));
    visitor.leave();
  }));

/** Says it all back, line by line, in capitals, however it takes its sessions over. */
const rackProgram = `
shout = lambda { |io|
  Thread.new do
    while (line = io.gets)
      io.write(line.upcase)
      io.flush
    end
    io.close
  end
}
switching = { "Connection" => "Upgrade", "Upgrade" => "shout" }
run lambda { |env|
  next [200, {}, ["plain"]] unless env["HTTP_UPGRADE"]
  case env["PATH_INFO"]
  when "/full"
    io = env["rack.hijack"].call
    io.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n")
    io.write("Upgrade: shout\\r\\n\\r\\n")
    shout.call(io)
    [-1, {}, []]
  when "/partial" then [101, switching.merge("rack.hijack" => shout), []]
  when "/streaming" then [101, switching, shout]
  end
}
`;

test.each(["/full", "/partial", "/streaming"])(
  "rack: a session that %s takes over is bytes both ways, and its process serves others",
  async (path) => {
    const changes = { type: "rack", options: { maxInstances: 1 } } as const;
    const apps = { main: rackProgram };
    await using gateway = ProxiedGateway.start(temporaryDirectory(), apps, {}, [], changes);
    const visitors = [];
    for (let i = 0; i < 3; i += 1) {
      const visitor = await gateway.connect();
      visitors.push(visitor);
      visitor.get(path, upgrade);
      await visitor.has("\r\n\r\n");
      expect(visitor.received).toStartWith("HTTP/1.1 101 Switching Protocols\r\n");
      expect(visitor.received).toContain("\r\nUpgrade: shout\r\n");
      expect(await (await gateway.fetch("/")).text()).toBe("plain");
    }
    for (const visitor of visitors) {
      visitor.send("one\n");
      await visitor.has("ONE\n");
      visitor.send("two\n");
      await visitor.has("TWO\n");
      visitor.leave();
    }
  },
);

test("after a reload they stay for their time, then end; requests are served by new workers", async () => {
  const { gateway, port, visitor } = await withUpgradedTime("1500ms");
  const [old] = gateway.workers;
  gateway.signal("SIGHUP");
  await until("there is a new worker", () => gateway.workers.some(({ pid }) => pid !== old?.pid));
  visitor.send("still");
  await visitor.has("STILL");
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("plain undefined");
  await visitor.end();
  await until("the old worker has left", () =>
    gateway.workers.every(({ pid }) => pid !== old?.pid),
  );
  await gateway.end();
});

test("after a restart the old process keeps them for their time, then it is ended", async () => {
  const { gateway, root, port, visitor } = await withUpgradedTime("200ms");
  writeFileSync(join(root, "tmp", "restart.txt"), "");
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  expect(await answer.text()).toBe("plain undefined");
  await visitor.end();
  await gateway.end();
  expect(gateway.log).not.toContain("died");
});
