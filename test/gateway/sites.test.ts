/** Files alone (type `static`), and files of other places than `public/`: through the binary. */
import { expect, test } from "bun:test";
import { chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { commandConfig } from "./command-programs.ts";
import { exchange } from "./raw-exchange.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

function rootWith(files: Readonly<Record<string, string>>): string {
  const root = join(temporaryDirectory(), "site");
  mkdirSync(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

async function ask(gateway: Gateway, path: string, method = "GET", headers = ""): Promise<string> {
  const { port } = new URL(await gateway.address());
  const request = `${method} ${path} HTTP/1.1\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`;
  return (await exchange(Number(port), [request], undefined, 25_000)).answered;
}

/** Status and body. */
async function short(gateway: Gateway, path: string, method = "GET"): Promise<string> {
  const answered = await ask(gateway, path, method);
  return `${answered.slice(9, 12)} ${answered.slice(answered.indexOf("\r\n\r\n") + 4)}`;
}

const pages = {
  "index.html": "home",
  "about.html": "about",
  "docs/index.html": "docs",
  "404.html": "not here",
  ".env": "secret",
  "a.css": "plain",
  "a.css.gz": "zipped",
};

test("a site is files, indexes, redirects to them, a page for the rest, and no process", async () => {
  const gateway = startGateway(["--config", commandConfig(rootWith(pages), 'type = "static"')]);
  expect(await short(gateway, "/")).toBe("200 home");
  expect(await short(gateway, "/about")).toBe("200 about");
  expect(await short(gateway, "/docs/")).toBe("200 docs");
  expect(await ask(gateway, "/docs?a=b")).toMatch(
    /^HTTP\/1\.1 301 [^]*\r\nLocation: \/docs\/\?a=b\r\n/,
  );
  for (const path of ["/none", "/.env", "/docs/none/", "/%2e%65nv", "/docs%2findex.html"]) {
    expect(await short(gateway, path)).toBe("404 not here");
  }
  const conditional = "If-None-Match: *\r\nRange: bytes=0-1\r\n";
  expect(await ask(gateway, "/none", "GET", conditional)).toMatch(/^HTTP\/1\.1 404 [^]*not here$/);
  expect(await ask(gateway, "/a.css", "GET", "Accept-Encoding: gzip\r\n")).toEndWith("zipped");
  expect(await ask(gateway, "/", "GET", "Range: bytes=1-2\r\n")).toMatch(/^HTTP\/1\.1 206 [^]*om$/);
  for (const method of ["POST", "DELETE", "OPTIONS"]) {
    expect(await ask(gateway, "/", method)).toMatch(/^HTTP\/1\.1 405 [^]*\r\nAllow: GET, HEAD\r\n/);
  }
  expect(await ask(gateway, "*", "OPTIONS")).toStartWith("HTTP/1.1 405 ");
  expect(await ask(gateway, "/", "HEAD")).toEndWith("\r\n\r\n");
  await gateway.end();
});

test("a site below a prefix, of a root with a public/: of that alone", async () => {
  const root = rootWith({ "public/index.html": "home", "index.html": "not this", "x.txt": "nor" });
  const gateway = startGateway(["--config", commandConfig(root, 'type = "static"\nprefix = "/s"')]);
  expect(await ask(gateway, "/s")).toMatch(/^HTTP\/1\.1 301 [^]*\r\nLocation: \/s\/\r\n/);
  expect(await short(gateway, "/s/")).toBe("200 home");
  expect(await short(gateway, "/s/x.txt")).toStartWith("404 ");
  expect(await short(gateway, "/x.txt")).toStartWith("404 ");
  await gateway.end();
});

test("`serve DIRECTORY --type static` needs no file", async () => {
  const gateway = startGateway([rootWith(pages), "--type", "static", "--listen", "127.0.0.1:0"]);
  expect(await short(gateway, "/about")).toBe("200 about");
  await gateway.end();
});

test("other places: the longest path, decoded; what is not there is the application's", async () => {
  const root = rootWith({
    "config.ru": 'run lambda { |env| [200, {}, ["app " + env["PATH_INFO"]]] }',
    "public/media/a.txt": "public's",
    "uploads/a.txt": "upload",
    "uploads/.hidden": "secret",
    "files/a.txt": "file",
    "secret.txt": "secret",
  });
  const places = [
    { path: "/media", root: "uploads" },
    { path: "/media/caf%C3%A9", root: join(root, "files") },
  ];
  const tables = places.map(
    ({ path, root: directory }) => `[[apps.static]]\npath = "${path}"\nroot = "${directory}"\n`,
  );
  const uid = process.getuid?.() === 0 ? (findUser("nobody")?.uid ?? 0) : 0;
  if (uid !== 0) for (const at of [root, join(root, "config.ru")]) chownSync(at, uid, 0);
  symlinkSync("../secret.txt", join(root, "uploads/out.txt"));
  if (uid !== 0) lchownSync(join(root, "uploads/out.txt"), uid, 0);
  const gateway = startGateway(["--config", commandConfig(root, tables.join(""))]);
  expect(await short(gateway, "/media/a.txt")).toBe("200 upload");
  expect(await short(gateway, "/m%65dia/a.txt")).toBe("200 upload");
  expect(await short(gateway, "/media/caf%C3%A9/a.txt")).toBe("200 file");
  for (const path of ["/media/none.txt", "/mediaa.txt", "/media/.hidden", "/media/out.txt"]) {
    expect(await short(gateway, path)).toBe(`200 app ${path}`);
  }
  expect(await short(gateway, "/media%2fa.txt")).toBe("200 app /media%2fa.txt");
  expect(await short(gateway, "/media/a.txt", "POST")).toBe("200 app /media/a.txt");
  await gateway.end();
});
