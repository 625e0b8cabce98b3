/** Which application a request goes to. */
import { expect, test } from "bun:test";

import { isHost } from "../../src/http/host.ts";
import { Router } from "../../src/gateway/policy/router.ts";
import { app } from "./support.ts";

const router = new Router([
  app("everywhere"),
  app("shop", { prefix: "/shop" }),
  app("shop-admin", { prefix: "/shop/admin" }),
  app("exact", { hosts: ["www.example.com"] }),
  app("wild", { hosts: ["*.example.com", "example.net"] }),
  app("wilder", { hosts: ["*.eu.example.com"] }),
  app("mounted", { hosts: ["mounted.example.org"], prefix: "/only" }),
]);

function routed(host: string, path: string): string | undefined {
  return router.route(host, path)?.app.name;
}

test("an exact host comes before a wildcard, a longer wildcard before a shorter one", () => {
  expect(routed("www.example.com", "/")).toBe("exact");
  expect(routed("api.example.com", "/")).toBe("wild");
  expect(routed("a.b.example.com", "/")).toBe("wild");
  expect(routed("api.eu.example.com", "/")).toBe("wilder");
  expect(routed("example.net", "/")).toBe("wild");
});

test("a wildcard is not the name it hangs on, nor one that only ends alike", () => {
  expect(routed("example.com", "/")).toBe("everywhere");
  expect(routed("badexample.com", "/")).toBe("everywhere");
});

test("case, port and the dot at the end of a host do not matter", () => {
  expect(routed("WWW.Example.COM:8080", "/")).toBe("exact");
  expect(routed("www.example.com.", "/")).toBe("exact");
  expect(routed("www.example.com.:80", "/")).toBe("exact");
  expect(routed("[2001:db8::1]:80", "/")).toBe("everywhere");
  expect(routed("", "/")).toBe("everywhere");
});

test("the longest prefix wins, on the bounds of segments", () => {
  expect(routed("x", "/shop")).toBe("shop");
  expect(routed("x", "/shop/")).toBe("shop");
  expect(routed("x", "/shop/basket")).toBe("shop");
  expect(routed("x", "/shopping")).toBe("everywhere");
  expect(routed("x", "/shop/admin/x")).toBe("shop-admin");
  expect(routed("x", "/shop/administration")).toBe("shop");
  expect(routed("x", "/Shop")).toBe("everywhere");
});

test("a host with applications of its own has no others", () => {
  expect(routed("mounted.example.org", "/only/x")).toBe("mounted");
  expect(routed("mounted.example.org", "/")).toBeUndefined();
  expect(new Router([app("a", { hosts: ["a"] })]).route("b", "/")).toBeUndefined();
});

test("hosts are names, IPv4 and IPv6 addresses, with a port or without", () => {
  for (const host of ["a", "a:", "a.b-c_d.example", "a.", "127.0.0.1:80", "[::1]", "[::1]:65535"]) {
    expect(isHost(host)).toBe(true);
  }
  const wrong = ["", "a b", "a/b", "u@a", 'a"b', "a,b", ":", "a:x", "a:65536", "[::1", "::1"];
  for (const host of [...wrong, "é", "-a", ".a", "a\n", "a:80\n", "a".repeat(300)]) {
    expect(isHost(host)).toBe(false);
  }
});

test("prefixes are compared decoded; what is below is as it was sent", () => {
  const cafe = new Router([app("cafe", { prefix: "/café" }), app("shop", { prefix: "/shop" })]);
  const shop = (path: string) => cafe.route("a", path);
  expect(shop("/s%68op/a%20b")).toMatchObject({ script: "/shop", below: "/a%20b" });
  expect(shop("/%73%68%6f%70")).toMatchObject({ app: { name: "shop" }, below: "" });
  expect(shop("/caf%C3%A9/x")).toMatchObject({ script: "/caf\xc3\xa9", below: "/x" });
  expect(shop("/caf\xc3\xa9/x")).toMatchObject({ app: { name: "cafe" }, below: "/x" });
  for (const other of ["/sh%6fpping", "/shop%2fa", "/%2fshop", "/s%68o", "/caf%E9"]) {
    expect(shop(other)).toBeUndefined();
  }
});
