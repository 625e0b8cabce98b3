/** From Request to CGI and back to Response. */
import { describe, expect, test } from "bun:test";
import { cgiHeaders, fetchFrom, SessionError, SpawnError } from "../../src/parent/index.ts";
import { putOnEventLoop } from "../../src/native/event-loop.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { encodeDecimal } from "../../src/wire/replies.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { rejection } from "./rejection.ts";
import { type PeerConnection, ScriptedPeer } from "./scripted-peer.ts";
import { encodeSpawnException } from "../helpers/peer-messages.ts";

countDescriptors();

describe("cgiHeaders", () => {
  test("says method, target, path, query, server and client", () => {
    const request = new Request("http://example.org/a/b%20c?d=e%20f", { method: "PUT" });
    expect(cgiHeaders(request, { remoteAddress: "10.0.0.1" })).toEqual([
      ["REQUEST_METHOD", "PUT"],
      ["REQUEST_URI", "/a/b%20c?d=e%20f"],
      ["SCRIPT_NAME", ""],
      ["PATH_INFO", "/a/b c"],
      ["QUERY_STRING", "d=e%20f"],
      ["SERVER_NAME", "example.org"],
      ["SERVER_PORT", "80"],
      ["SERVER_PROTOCOL", "HTTP/1.1"],
      ["REMOTE_ADDR", "10.0.0.1"],
    ]);
  });

  test("says HTTPS and its port, and an explicit port", () => {
    expect(cgiHeaders(new Request("https://a/"))).toContainEqual(["HTTPS", "on"]);
    expect(cgiHeaders(new Request("https://a/"))).toContainEqual(["SERVER_PORT", "443"]);
    expect(cgiHeaders(new Request("http://a:81/"))).toContainEqual(["SERVER_PORT", "81"]);
  });

  test("takes the mount point off the path", () => {
    const headers = cgiHeaders(new Request("http://a/shop/item"), { scriptName: "/shop" });
    expect(headers).toContainEqual(["SCRIPT_NAME", "/shop"]);
    expect(headers).toContainEqual(["PATH_INFO", "/item"]);
  });

  test("decodes escapes to bytes and leaves alone what is none", () => {
    const headers = cgiHeaders(new Request("http://a/%C3%A9%zz%4"));
    expect(headers).toContainEqual(["PATH_INFO", "/\xc3\xa9%zz%4"]);
  });

  test("passes headers on, but none that could be taken for another", () => {
    const request = new Request("http://a/", {
      method: "POST",
      body: "x",
      headers: {
        "X-Forwarded-For": "1.2.3.4",
        X_Forwarded_For: "6.6.6.6",
        Proxy: "http://evil",
        "Content-Type": "text/plain",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
      },
    });
    const own = cgiHeaders(request).filter(([name]) => /^(HTTP_|CONTENT)/.test(name));
    expect(Object.fromEntries(own)).toEqual({
      CONTENT_LENGTH: "1",
      CONTENT_TYPE: "text/plain",
      HTTP_X_FORWARDED_FOR: "1.2.3.4",
    });
    expect(own.length).toBe(3);
  });
});

/** The server's spawner is not its own: sessions are not kept, nothing here is about them. */
async function sayForeign(peer: PeerConnection): Promise<void> {
  await peer.take("getSpawnServerPid");
  peer.reply(encodeDecimal(0));
}

/** Grants the next get and answers its request with these bytes once anything of it has come. */
async function answerWith(peer: PeerConnection, answer: string): Promise<void> {
  const instance = peer.grant((await peer.take("getTagged")).tag, 5, 0);
  await putOnEventLoop(instance, {
    data: undefined,
    socket: { data: (socket) => void socket.end(answer), error: () => {} },
  });
}

describe("fetchFrom", () => {
  test("answers with status, headers and body", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const fetched = fetchFrom(pool, "/srv/a", new Request("http://a/x"));
    await sayForeign(peer);
    await answerWith(peer, "Status: 201 Made\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello");
    const response = await fetched;
    expect([response.status, response.statusText]).toEqual([201, "Made"]);
    expect(response.headers.getSetCookie()).toEqual(["a", "b"]);
    expect(await response.text()).toBe("hello");
    expect((await peer.take("close")).sessionId).toBe(0);
    pool.close();
  });

  test("answers without a body where there may be none", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    for (const status of [204, 304]) {
      const fetched = fetchFrom(pool, "/srv/a", new Request("http://a/x"));
      if (status === 204) await sayForeign(peer);
      await answerWith(peer, `Status: ${status} Fine\r\n\r\n`);
      expect((await fetched).status).toBe(status);
      await peer.take("close");
    }
    pool.close();
  });

  test("a status that a Response cannot have is a SessionError", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const fetched = rejection(fetchFrom(pool, "/srv/a", new Request("http://a/x")));
    await sayForeign(peer);
    await answerWith(peer, "Status: 777 Lucky\r\n\r\n");
    expect(await fetched).toBeInstanceOf(SessionError);
    await peer.take("abandon");
    pool.close();
  });

  test("a get that is refused rejects with its error", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const fetched = rejection(fetchFrom(pool, "/srv/a", new Request("http://a/x")));
    await sayForeign(peer);
    peer.reply(encodeSpawnException(ascii("no"), undefined, (await peer.take("getTagged")).tag));
    expect(await fetched).toBeInstanceOf(SpawnError);
    pool.close();
  });

  test("an aborted request withdraws its get", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const controller = new AbortController();
    const request = new Request("http://a/x", { signal: controller.signal });
    const fetched = rejection(fetchFrom(pool, "/srv/a", request));
    await sayForeign(peer);
    const { tag } = await peer.take("getTagged");
    controller.abort();
    expect((await peer.take("cancel")).tag).toBe(tag);
    expect(await fetched).toHaveProperty("name", "AbortError");
    pool.close();
  });
});
