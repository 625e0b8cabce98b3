/** Who asks, past the proxies, and what applications are told about it. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import {
  parseAddress,
  peerAddress,
  TrustedProxies,
} from "../../src/gateway/policy/trusted-proxies.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { gateways, type Reached } from "./support.ts";

const gateway = gateways();
const directory = temporaryDirectories();

async function ask(
  trustedProxies: readonly string[],
  headers: Record<string, string>,
): Promise<Reached & { id: string | null; remoteAddress: string; host: string; scheme: string }> {
  const started = gateway({ trustedProxies });
  const response = await fetch(started.url("/"), { headers });
  const [reached, visit] = [started.reached[0], started.done[0]];
  if (reached === undefined || visit === undefined) throw new Error("it did not arrive");
  return { ...reached, ...visit, app: "", id: response.headers.get("x-request-id") };
}

const local = ["127.0.0.0/8"];

test("from a peer that is not trusted, nothing is believed and nothing passed on", async () => {
  const { headers, remoteAddress, host, scheme, id } = await ask(["10.0.0.1"], {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "443",
    Forwarded: "for=203.0.113.9;proto=https",
    "X-Request-Id": "chosen",
    "X-Real-IP": "203.0.113.9",
    "Client-IP": "203.0.113.9",
    "X-Sendfile-Type": "X-Accel-Redirect",
    "X-Accel-Mapping": "/=/",
    "X-Forwarded-Protocol": "https",
    "X-Url-Scheme": "https",
    "Forwarded-For": "203.0.113.9",
    "X-Forwarded": "for=203.0.113.9",
    "X-Cluster-Client-IP": "203.0.113.9",
    "CF-Connecting-IP": "203.0.113.9",
    "Fastly-Client-IP": "203.0.113.9",
  });
  expect({ remoteAddress, scheme }).toEqual({ remoteAddress: "127.0.0.1", scheme: "http" });
  expect(host).toStartWith("127.0.0.1:");
  expect(headers).toMatchObject({
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": host,
  });
  expect(headers["x-request-id"]).toBe(id ?? "none");
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  const dropped = ["forwarded", "x-forwarded-port", "x-real-ip", "client-ip", "x-sendfile-type"];
  for (const name of [...dropped, "x-accel-mapping"]) expect(headers[name]).toBeUndefined();
  for (const value of ["https", "203.0.113.9", "for=203.0.113.9"]) {
    expect(Object.values(headers)).not.toContain(value);
  }
});

test("a trusted proxy is believed", async () => {
  const { headers, remoteAddress, host, scheme, id } = await ask(local, {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "HTTPS",
    "X-Forwarded-Host": "shop.example:8443",
    "X-Request-Id": "req-42/a=b",
    "X-Real-IP": "203.0.113.9",
  });
  expect({ remoteAddress, host, scheme, id }).toEqual({
    remoteAddress: "203.0.113.9",
    host: "shop.example:8443",
    scheme: "https",
    id: "req-42/a=b",
  });
  expect(headers).toMatchObject({
    "x-forwarded-for": "203.0.113.9, 127.0.0.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.example:8443",
    "x-request-id": "req-42/a=b",
    "x-real-ip": "203.0.113.9",
  });
});

const chains: [why: string, header: string, trusted: string[], visitor: string, chain: string][] = [
  [
    "the visitor's own word stays outside",
    "6.6.6.6, 203.0.113.9",
    local,
    "203.0.113.9",
    "203.0.113.9, 127.0.0.1",
  ],
  [
    "trusted hops are passed",
    "6.6.6.6, 203.0.113.9, 10.1.1.1",
    [...local, "10.0.0.0/8"],
    "203.0.113.9",
    "203.0.113.9, 10.1.1.1, 127.0.0.1",
  ],
  [
    "all trusted: the first is the visitor",
    "10.0.0.2, 10.0.0.1",
    [...local, "10.0.0.0/8"],
    "10.0.0.2",
    "10.0.0.2, 10.0.0.1, 127.0.0.1",
  ],
  ["what is no address ends the walk", "203.0.113.9, unknown", local, "127.0.0.1", "127.0.0.1"],
  ["ports are left out", "203.0.113.9:4711", local, "203.0.113.9", "203.0.113.9, 127.0.0.1"],
  ["so they are with IPv6", "[2001:DB8:0::9]:4711", local, "2001:db8::9", "2001:db8::9, 127.0.0.1"],
  [
    "IPv4 inside IPv6 is IPv4",
    "6.6.6.6, ::ffff:10.0.0.1",
    [...local, "10.0.0.0/8"],
    "6.6.6.6",
    "6.6.6.6, 10.0.0.1, 127.0.0.1",
  ],
  ["an empty list", "", local, "127.0.0.1", "127.0.0.1"],
];

for (const [why, header, trusted, visitor, chain] of chains) {
  test(`X-Forwarded-For: ${why}`, async () => {
    const { headers, remoteAddress } = await ask(trusted, { "X-Forwarded-For": header });
    expect(remoteAddress).toBe(visitor);
    expect(headers["x-forwarded-for"]).toBe(chain);
  });
}

test("of several values the last counts, which our own proxy has written", async () => {
  const { scheme, host } = await ask(local, {
    "X-Forwarded-Proto": "https, http",
    "X-Forwarded-Host": "evil.example, good.example",
  });
  expect({ scheme, host }).toEqual({ scheme: "http", host: "good.example" });
});

test("what a trusted proxy says wrongly is as if unsaid", async () => {
  const { scheme, host, id } = await ask(local, {
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "a b",
    "X-Request-Id": "x".repeat(201),
  });
  expect(scheme).toBe("http");
  expect(host).toStartWith("127.0.0.1:");
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
});

test("`unix` trusts the peers of a Unix socket, who have no address", async () => {
  for (const [trustedProxies, expected] of [
    [["unix"], { remoteAddress: "203.0.113.9", forwarded: "203.0.113.9" }],
    [local, { remoteAddress: "", forwarded: undefined }],
  ] as const) {
    const unix = join(directory(), "s");
    const started = gateway({ trustedProxies }, { unix });
    const headers = { "X-Forwarded-For": "203.0.113.9" };
    await (await fetch("http://a.example/", { unix, headers })).text();
    expect(started.done[0]?.remoteAddress).toBe(expected.remoteAddress);
    expect(started.reached[0]?.headers["x-forwarded-for"]).toBe(expected.forwarded as string);
  }
});

test("headers of the connection do not reach the application, nor those they name", async () => {
  const { headers } = await ask([], {
    Connection: "close, X-Secret, Host, Content-Length, X-Forwarded-For",
    "X-Secret": "1",
    "Keep-Alive": "timeout=5",
    TE: "trailers",
    Trailer: "X-T",
    Upgrade: "h2c",
    "Proxy-Connection": "keep-alive",
  });
  const names = Object.keys(headers);
  for (const name of ["connection", "x-secret", "keep-alive", "te", "trailer", "upgrade"]) {
    expect(names).not.toContain(name);
  }
  expect(names).toContain("host");
  expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
});

test("ranges of both families, single addresses, and IPv4 inside IPv6", () => {
  const trusted = new TrustedProxies([
    "10.0.0.0/8",
    "fd00::/8",
    "192.0.2.1",
    "::ffff:198.51.100.0/120",
  ]);
  const inside = ["10.255.0.1", "fd12::1", "192.0.2.1", "198.51.100.7"];
  for (const address of inside) expect(trusted.has(address)).toBe(true);
  const outside = ["11.0.0.1", "fe80::1", "192.0.2.2", "198.51.101.7", "::a00:1", ""];
  for (const address of outside) expect(trusted.has(address)).toBe(false);
  expect(new TrustedProxies(["0.0.0.0/0"]).has("203.0.113.9")).toBe(true);
  expect(new TrustedProxies(["::/0"]).has("2001:db8::1")).toBe(true);
});

test("an entry that is no address is refused with its name", () => {
  for (const entry of [
    "10.0.0",
    "10.0.0.0/33",
    "fd00::/129",
    "localhost",
    "10.0.0.1/",
    "",
    "::1/x",
  ]) {
    expect(() => new TrustedProxies([entry])).toThrow(`trusted proxy '${entry}': it must be`);
  }
  expect(() => new TrustedProxies(["::ffff:10.0.0.0/95"])).toThrow("::ffff:10.0.0.0/95");
});

test("an address has one form", () => {
  expect(peerAddress("::ffff:10.0.0.1")).toBe("10.0.0.1");
  expect(peerAddress("2001:db8::1")).toBe("2001:db8::1");
  expect(peerAddress(undefined)).toBe("");
  expect(parseAddress("2001:DB8:0:0:0:0:0:1")).toBe("2001:db8::1");
  expect(parseAddress("::FFFF:10.0.0.1")).toBe("10.0.0.1");
  expect(parseAddress("::ffff:a00:1")).toBe("10.0.0.1");
  for (const none of ["", "1.2.3", "01.2.3.4", "fe80::1%eth0", "[::1]", "a"]) {
    expect(parseAddress(none)).toBeUndefined();
  }
});
