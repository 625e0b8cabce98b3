/**
 * Bun.serve on a listening socket of ours: the exchange holds over many connections, beside other
 * servers, and to the end of each. If a Bun does otherwise, this is where it shows.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { Server } from "bun";

import { listenPath, listenTcp, localAddress } from "../../src/native/listening-socket.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { serveOn, type Placeholder, type ServedListener } from "../../src/native/serve-listener.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

function listenAnywhere(): OwnedFd {
  const [listener] = listenTcp({ kind: "tcp", host: "127.0.0.1", port: 0 }, 1);
  if (listener === undefined) throw new Error("no socket");
  return listener;
}

function urlOf(listener: OwnedFd): string {
  const name = localAddress(listener.number);
  if (name?.kind !== "tcp") throw new Error("no TCP socket");
  return `http://127.0.0.1:${name.port}/`;
}

/** Where Bun listened before it was given our socket; afterwards it names that one. */
let ownUrl = "";

function serve(text: string): (placeholder: Placeholder) => Server<undefined> {
  return (placeholder) => {
    const server = Bun.serve({
      ...placeholder,
      development: false,
      fetch: (request, self) =>
        new Response(`${text} ${self.requestIP(request)?.address ?? "no address"}`),
    });
    ownUrl = server.url.href;
    return server;
  };
}

/** One request on a connection of its own. */
async function ask(url: string, init: BunFetchRequestInit = {}): Promise<string> {
  return (await fetch(url, { keepalive: false, ...init })).text();
}

async function refuses(url: string): Promise<boolean> {
  return ask(url).then(
    () => false,
    () => true,
  );
}

test("requests on the listener are answered, with the visitor's address; not on Bun's own port", async () => {
  using listener = listenAnywhere();
  const { server } = serveOn(listener.number, serve("hello"));
  for (let i = 0; i < 200; i += 1) {
    if (i % 50 === 0) Bun.gc(true);
    expect(await ask(urlOf(listener))).toBe("hello 127.0.0.1");
  }
  expect(await refuses(ownUrl)).toBe(true);
  await server.stop();
});

test("several servers, of Bun and of ours, do not get in each other's way", async () => {
  const listeners = [listenAnywhere(), listenAnywhere(), listenAnywhere()];
  using plain = Bun.serve({ port: 0, fetch: () => new Response("plain") });
  const served = listeners.map(({ number }, index) => serveOn(number, serve(`number ${index}`)));
  const answers = await Promise.all(listeners.map((listener) => ask(urlOf(listener))));
  expect(answers).toEqual([0, 1, 2].map((index) => `number ${index} 127.0.0.1`));
  expect(await ask(plain.url.href)).toBe("plain");
  await Promise.all(served.map(({ server }) => server.stop()));
  for (const listener of listeners) listener.close();
});

test("a Unix socket: requests have no address", async () => {
  const path = join(temporaryDirectory(), "s");
  using listener = listenPath(path);
  const { server, address } = serveOn(listener.number, serve("unix"));
  expect(address).toEqual({ kind: "unix", path });
  expect(await ask("http://localhost/", { unix: path })).toBe("unix no address");
  await server.stop();
});

test("stop closes Bun's copy and leaves ours: the next one finds what waits in the queue", async () => {
  const descriptors = openDescriptors().size;
  using listener = listenAnywhere();
  const first = serveOn(listener.number, serve("first"));
  expect(await ask(urlOf(listener))).toBe("first 127.0.0.1");
  await first.server.stop();
  const waiting = ask(urlOf(listener));
  const second = serveOn(listener.number, serve("second"));
  expect(await waiting).toBe("second 127.0.0.1");
  await second.server.stop();
  listener.close();
  await until("all descriptors are closed", () => openDescriptors().size <= descriptors + 3);
});

test("accepting can end while connections go on", async () => {
  using listener = listenAnywhere();
  const url = urlOf(listener);
  const served: ServedListener = serveOn(listener.number, serve("still"));
  expect(await ask(url, { keepalive: true })).toBe("still 127.0.0.1");
  served.stopAccepting();
  // This one keeps its connection; a new one waits in the queue.
  expect(await ask(url, { keepalive: true })).toBe("still 127.0.0.1");
  const waiting = ask(url);
  const successor = serveOn(listener.number, serve("next"));
  expect(await waiting).toBe("next 127.0.0.1");
  await served.server.stop();
  expect(await ask(url)).toBe("next 127.0.0.1");
  await successor.server.stop();
});

test("once it accepts no more, its copy of the listener is closed: the address is free", async () => {
  const listener = listenAnywhere();
  const url = urlOf(listener);
  const served = serveOn(listener.number, serve("gone"));
  listener.close();
  expect(await ask(url)).toBe("gone 127.0.0.1");
  served.stopAccepting();
  expect(await refuses(url)).toBe(true);
  await served.server.stop();
  // Whoever has the number now keeps it.
  const others = Array.from({ length: 4 }, () => listenAnywhere());
  served.stopAccepting();
  expect(others.map((other) => localAddress(other.number)?.kind)).toEqual(others.map(() => "tcp"));
  for (const other of others) other.close();
});

test("of two servers on one listener, both may accept, and each connection has one of them", async () => {
  using listener = listenAnywhere();
  const both = [serveOn(listener.number, serve("a")), serveOn(listener.number, serve("b"))];
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(urlOf(listener))));
  expect(answers.every((text) => /^[ab] 127/.test(text))).toBe(true);
  await Promise.all(both.map(({ server }) => server.stop()));
});

test("what is no listener is refused, and no server is left behind", async () => {
  expect(() => serveOn(999_999, serve("never"))).toThrow(
    "serve on the inherited socket 999999: dup3 on fd 999999: EBADF",
  );
  expect(await refuses(ownUrl)).toBe(true);
});

test("a function that starts no server, or two, is refused", () => {
  using listener = listenAnywhere();
  using idle = Bun.serve({ port: 0, fetch: () => new Response("") });
  expect(() => serveOn(listener.number, () => idle)).toThrow(
    "Bun.serve registered 0 listeners instead of one",
  );
});
