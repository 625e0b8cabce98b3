/** Files of `public/`, over real HTTP: which are sent, and that nothing else is. */
import { beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { fileNames } from "../../src/gateway/files/static-path.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { exchange } from "./raw-exchange.ts";
import { app, gateways, publicOf, type Gateway } from "./support.ts";

const gateway = gateways();
const directory = temporaryDirectories();

let root = "";
let site: Gateway;

beforeEach(() => {
  root = directory();
  put("public/app.css", "body {}");
  site = gateway({ apps: [app("main", { root, files: publicOf(root) })] });
});

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(join(root, path, ".."), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** What comes back; `reached` where it was the application that answered. */
async function get(path: string, init: RequestInit = {}): Promise<string> {
  return (await fetch(site.url(path), init)).text();
}

test("a file is sent without asking the application, anything else is asked of it", async () => {
  const response = await fetch(site.url("/app.css"));
  expect(await response.text()).toBe("body {}");
  expect(response.headers.get("content-type")).toBe("text/css; charset=utf-8");
  expect(response.headers.get("content-length")).toBe("7");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(response.headers.get("x-request-id")).toBe(site.done[0]?.id as string);
  expect(site.done).toMatchObject([{ status: 200, bytes: 7, app: { name: "main" }, pid: 0 }]);
  expect(site.reached).toEqual([]);
  expect(await get("/app.js")).toBe("reached");
  expect(await get("/app.css", { method: "POST" })).toBe("reached");
});

test("files may be asked for all at once", async () => {
  const first = "GET /app.css HTTP/1.1\r\nHost: a\r\n\r\n";
  const last = "GET /app.css HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  const { answered } = await exchange(site.port, [first + first + last]);
  expect(answered.split("body {}").length).toBe(4);
});

test("HEAD has the headers of GET, and no body", async () => {
  const response = await fetch(site.url("/app.css"), { method: "HEAD" });
  expect(await response.text()).toBe("");
  expect(response.headers.get("content-length")).toBe("7");
  expect(response.headers.get("content-type")).toBe("text/css; charset=utf-8");
  expect(site.done).toMatchObject([{ status: 200, bytes: 0 }]);
});

test("pages in store: index.html of a directory, foo.html for /foo", async () => {
  put("public/index.html", "home");
  put("public/blog/index.html", "blog");
  put("public/about.html", "about");
  put("public/LICENSE", "free");
  expect(await get("/")).toBe("home");
  expect(await get("/?page=1")).toBe("home");
  expect(await get("/blog/")).toBe("blog");
  expect(await get("/about")).toBe("about");
  expect(await get("/LICENSE")).toBe("free");
  expect(await get("/blog")).toBe("reached");
});

test("below a prefix, paths are taken without it", async () => {
  put("public/index.html", "home");
  site = gateway({ apps: [app("shop", { root, files: publicOf(root), prefix: "/shop" })] });
  expect(await get("/shop/app.css")).toBe("body {}");
  expect(await get("/shop")).toBe("home");
  expect(await get("/shop/shop/app.css")).toBe("reached");
});

test("where static files are off, the application is asked", async () => {
  site = gateway({ apps: [app("main", { root })] });
  expect(await get("/app.css")).toBe("reached");
});

test("names are decoded once, as bytes", async () => {
  put("public/a b.txt", "space");
  put("public/é.txt", "accent");
  put("public/100%.txt", "percent");
  writeFileSync(Buffer.from(`${root}/public/\xff.txt`, "latin1"), "bytes");
  expect(await get("/a%20b.txt")).toBe("space");
  expect(await get("/%C3%A9.txt")).toBe("accent");
  expect(await get("/100%25.txt")).toBe("percent");
  expect(await get("/%ff.txt")).toBe("bytes");
  expect(await get("/app%2ecss")).toBe("body {}");
  expect(await get("/app%252ecss")).toBe("reached");
});

test("hidden files are not sent, but for .well-known", async () => {
  put("public/.env", "secret");
  put("public/.git/config", "secret");
  put("public/.well-known/security.txt", "contact");
  put("public/.well-known/.secret", "secret");
  for (const path of ["/.env", "/%2eenv", "/.git/config", "/.well-known/.secret"]) {
    expect(await get(path)).toBe("reached");
  }
  expect(await get("/.well-known/security.txt")).toBe("contact");
});

test("no path leaves public/", async () => {
  put("secret.txt", "secret");
  put("public-not/secret.txt", "secret");
  const paths = [
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/..%5csecret.txt",
    "/x/../../secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/-not/secret.txt",
    "//secret.txt",
    "/%2f/secret.txt",
    `/${root}/secret.txt`,
    "/./../secret.txt",
  ];
  for (const path of paths) {
    // Not by fetch, which resolves paths before it sends them.
    const request = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const { answered } = await exchange(site.port, [request]);
    expect(answered).toStartWith("HTTP/1.1 ");
    expect(answered).not.toContain("secret");
  }
});

test("links are followed within public/, and not out of it", async () => {
  put("secret.txt", "secret");
  put("public/real/file.txt", "inside");
  symlinkSync("real/file.txt", join(root, "public/link.txt"));
  symlinkSync("real", join(root, "public/directory"));
  symlinkSync("../secret.txt", join(root, "public/out.txt"));
  symlinkSync(join(root, "secret.txt"), join(root, "public/absolute.txt"));
  symlinkSync("..", join(root, "public/up"));
  symlinkSync("loop.txt", join(root, "public/loop.txt"));
  symlinkSync("/proc/self/environ", join(root, "public/environ.txt"));
  expect(await get("/link.txt")).toBe("inside");
  expect(await get("/directory/file.txt")).toBe("inside");
  for (const name of ["out", "absolute", "up/secret", "loop", "environ"]) {
    expect(await get(`/${name}.txt`)).toBe("reached");
  }
});

test("public itself may be a link within the application, and not out of it", async () => {
  for (const [target, expected] of [
    ["dist", "inside"],
    [directory(), "reached"],
    ["/etc", "reached"],
  ] as const) {
    root = directory();
    put("dist/file.txt", "inside");
    symlinkSync(target, join(root, "public"));
    site = gateway({ apps: [app("main", { root, files: publicOf(root) })] });
    expect(await get("/file.txt")).toBe(expected);
    expect(await get("/passwd")).toBe("reached");
  }
});

test("what is no plain file is left to the application, and nobody waits for it", async () => {
  mkdirSync(join(root, "public/folder.d"));
  Bun.spawnSync(["mkfifo", join(root, "public/fifo.txt")]);
  symlinkSync("/dev/zero", join(root, "public/zero.txt"));
  for (const path of ["/folder.d", "/fifo.txt", "/zero.txt", "/app.css/", "/app.css/x.txt"]) {
    expect(await get(path)).toBe("reached");
  }
});

test("a file that the gateway may not read is left to the application", async () => {
  const isRoot = process.geteuid?.() === 0;
  // Root could read it, but does not say what not everybody may read.
  chmodSync(join(root, "public/app.css"), isRoot ? 0o600 : 0);
  expect(await get("/app.css")).toBe("reached");
  if (!isRoot) return;
  process.seteuid?.(65_534);
  const answer = await get("/app.css");
  process.seteuid?.(0);
  expect(answer).toBe("reached");
});

test("a new page and a new release are seen within a moment", async () => {
  expect(await get("/new.html")).toBe("reached");
  put("public/new.html", "new");
  await until("the new page is sent", async () => (await get("/new.html")) === "new");
  renameSync(join(root, "public"), join(root, "old"));
  put("public/new.html", "newer");
  await until("the new release is sent", async () => (await get("/new.html")) === "newer");
  rmSync(join(root, "public"), { recursive: true });
  await until("the application is asked", async () => (await get("/new.html")) === "reached");
});

const large = new Uint8Array(3_000_000).map((_, index) => index % 251);

test("a large file comes whole, under no name, and leaves no descriptor open", async () => {
  put("public/large.bin", large);
  await get("/app.css");
  const before = openDescriptors().size;
  const response = await fetch(site.url("/large.bin"));
  expect(Buffer.from(await response.arrayBuffer()).equals(large)).toBe(true);
  expect(response.headers.get("content-length")).toBe("3000000");
  expect(response.headers.get("content-type")).toBe("application/octet-stream");
  expect(response.headers.get("content-disposition")).toBeNull();
  for (let i = 0; i < 50; i += 1) {
    const headers = { Range: "bytes=100000-2000000" };
    const part = await (await fetch(site.url("/large.bin"), { headers })).arrayBuffer();
    expect(part.byteLength).toBe(1_900_001);
  }
  await until("the descriptors are closed", () => openDescriptors().size <= before);
});

test("the file that was opened is the one that is sent, whatever becomes of its name", async () => {
  put("public/large.bin", large);
  put("other.bin", new Uint8Array(3_000_000));
  const other = join(root, "other.bin");
  const target = join(root, "public/large.bin");
  site.behave = () => new Response("gone");
  for (let i = 0; i < 20; i += 1) {
    const asked = fetch(site.url("/large.bin"));
    renameSync(target, join(root, "kept.bin"));
    symlinkSync(other, target);
    const body = Buffer.from(await (await asked).arrayBuffer());
    expect(body.length === 4 || body.equals(large)).toBe(true);
    rmSync(target);
    renameSync(join(root, "kept.bin"), target);
  }
});

function names(below: string): string[] {
  return fileNames(below);
}

test("which files a path may mean", () => {
  expect(names("/")).toEqual(["index.html"]);
  expect(names("/a")).toEqual(["a", "a.html"]);
  expect(names("/a.b/c")).toEqual(["a.b/c", "a.b/c.html"]);
  expect(names("/a.css")).toEqual(["a.css"]);
  expect(names("")).toEqual(["index.html"]);
  for (const none of ["//a", "/a//b", "/.a", "/a/.b", "/%2ea", "/a%2fb", "/a%5cb", "/a%00"]) {
    expect(names(none)).toEqual([]);
  }
  expect(names(`/${"a".repeat(5000)}`)).toEqual([]);
});
