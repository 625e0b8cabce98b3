/** Conditions, ranges and compressed files, over real HTTP. */
import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

import { acceptedCodings } from "../../src/gateway/files/accept-encoding.ts";
import { mediaTypeOf } from "../../src/gateway/files/media-types.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { app, gateways, publicOf, type Gateway } from "./support.ts";

const gateway = gateways();
const directory = temporaryDirectories();

/** Below and above the size from which Bun opens a file itself. */
const sizes = { "small.bin": 1000, "large.bin": 200_000 } as const;
type Name = keyof typeof sizes;

const modified = "Wed, 25 Nov 2020 12:00:00 GMT";
const earlier = "Wed, 25 Nov 2020 11:59:59 GMT";
const later = "Wed, 25 Nov 2020 12:00:01 GMT";

let root = "";
let site: Gateway;

beforeEach(() => {
  root = directory();
  mkdirSync(join(root, "public"));
  for (const [name, size] of Object.entries(sizes)) put(name, contentOf(size));
  site = gateway({ apps: [app("main", { root, files: publicOf(root) })] });
});

function contentOf(size: number): Buffer {
  return Buffer.from(new Uint8Array(size).map((_, index) => index % 251));
}

function put(name: string, content: string | Uint8Array): void {
  const path = join(root, "public", name);
  writeFileSync(path, content);
  utimesSync(path, new Date(modified), new Date(modified));
}

async function ask(
  name: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<{ status: number; headers: Headers; body: Buffer }> {
  const response = await fetch(site.url(`/${name}`), { headers, method, decompress: false });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body };
}

async function etagOf(name: string): Promise<string> {
  return (await ask(name)).headers.get("etag") ?? "";
}

for (const name of Object.keys(sizes) as Name[]) {
  test(`${name}: it has validators, and they change with it`, async () => {
    const { headers } = await ask(name);
    expect(headers.get("last-modified")).toBe(modified);
    expect(headers.get("etag")).toMatch(/^"[0-9a-f]+-[0-9a-f]+"$/);
    expect(headers.get("accept-ranges")).toBe("bytes");
    put(name, contentOf(sizes[name] + 1));
    expect(await etagOf(name)).not.toBe(headers.get("etag") ?? "");
  });

  test(`${name}: conditions are honoured in their order`, async () => {
    const etag = await etagOf(name);
    const cases: [headers: Record<string, string>, status: number][] = [
      [{ "If-None-Match": etag }, 304],
      [{ "If-None-Match": `W/${etag}` }, 304],
      [{ "If-None-Match": `"x", ${etag}` }, 304],
      [{ "If-None-Match": "*" }, 304],
      [{ "If-None-Match": '"x"' }, 200],
      [{ "If-None-Match": '"x"', "If-Modified-Since": later }, 200],
      [{ "If-Modified-Since": modified }, 304],
      [{ "If-Modified-Since": later }, 304],
      [{ "If-Modified-Since": earlier }, 200],
      [{ "If-Modified-Since": "yesterday" }, 200],
      [{ "If-Modified-Since": "1" }, 200],
      [{ "If-Match": etag }, 200],
      [{ "If-Match": `W/${etag}` }, 412],
      [{ "If-Match": '"x"' }, 412],
      [{ "If-Match": '"x"', "If-None-Match": etag }, 412],
      [{ "If-Unmodified-Since": modified }, 200],
      [{ "If-Unmodified-Since": earlier }, 412],
      [{ "If-None-Match": etag, Range: "bytes=0-1" }, 304],
    ];
    for (const [headers, status] of cases) {
      const answer = await ask(name, headers);
      expect({ headers, status: answer.status }).toEqual({ headers, status });
      expect(answer.body.length).toBe(status === 200 ? sizes[name] : 0);
      expect(answer.headers.get("etag")).toBe(etag);
    }
  });

  test(`${name}: a date is one of three forms, all of Greenwich's time`, async () => {
    const zone = process.env["TZ"];
    process.env["TZ"] = "America/New_York";
    const forms: [of: (seconds: string) => string, isDate: boolean][] = [
      [(s) => `Wed, 25 Nov 2020 12:00:${s} GMT`, true],
      [(s) => `Wednesday, 25-Nov-20 12:00:${s} GMT`, true],
      [(s) => `Wed Nov 25 12:00:${s} 2020`, true],
      [(s) => `Wed, 25 Nov 2020 12:00:${s} EST`, false],
      [(s) => `Wed, 25 Nov 2020 12:00:${s}`, false],
      [(s) => `Nov 25 2020 12:00:${s}`, false],
    ];
    try {
      for (const [of, isDate] of forms) {
        const statuses = [];
        for (const header of ["If-Modified-Since", "If-Unmodified-Since"]) {
          statuses.push((await ask(name, { [header]: of("00") })).status);
        }
        const before = of("00").replace("12:00:00", "11:59:59");
        statuses.push((await ask(name, { "If-Modified-Since": before })).status);
        statuses.push((await ask(name, { "If-Unmodified-Since": before })).status);
        const expected = isDate ? [304, 200, 200, 412] : [200, 200, 200, 200];
        expect({ form: of("00"), statuses }).toEqual({ form: of("00"), statuses: expected });
      }
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });

  test(`${name}: one range is sent, and what is no single range is ignored`, async () => {
    const size = sizes[name];
    const whole = contentOf(size);
    const ranges: [range: string, start: number, end: number][] = [
      ["bytes=0-0", 0, 0],
      ["bytes=10-19", 10, 19],
      ["BYTES=10-19", 10, 19],
      [`bytes=${size - 1}-`, size - 1, size - 1],
      ["bytes=500-", 500, size - 1],
      ["bytes=-10", size - 10, size - 1],
      [`bytes=-${size * 2}`, 0, size - 1],
      [`bytes=10-${size * 2}`, 10, size - 1],
    ];
    for (const [range, start, end] of ranges) {
      const { status, headers, body } = await ask(name, { Range: range });
      expect({ range, status }).toEqual({ range, status: 206 });
      expect(headers.get("content-range")).toBe(`bytes ${start}-${end}/${size}`);
      expect(body.equals(whole.subarray(start, end + 1))).toBe(true);
    }
    const ignored = ["bytes=0-1,5-6", "bytes=5-1", "lines=0-1", "bytes=", "bytes=a-b", "bytes=-"];
    for (const range of [...ignored, "bytes=0x1-5", "bytes=1-2-3", "0-1"]) {
      const { status, body } = await ask(name, { Range: range });
      expect({ range, status }).toEqual({ range, status: 200 });
      expect(body.equals(whole)).toBe(true);
    }
    for (const range of [`bytes=${size}-`, `bytes=${size * 3}-${size * 4}`, "bytes=-0"]) {
      const { status, headers } = await ask(name, { Range: range });
      expect({ range, status }).toEqual({ range, status: 416 });
      expect(headers.get("content-range")).toBe(`bytes */${size}`);
    }
  });

  test(`${name}: a part is sent only of the file that was meant`, async () => {
    const etag = await etagOf(name);
    const fresh = [etag, modified];
    const stale = ['"x"', `W/${etag}`, earlier, later, "x"];
    const part = { Range: "bytes=1-2" };
    for (const value of fresh) {
      expect((await ask(name, { ...part, "If-Range": value })).status).toBe(206);
    }
    for (const value of stale) {
      const { status, body } = await ask(name, { ...part, "If-Range": value });
      expect({ value, status }).toEqual({ value, status: 200 });
      expect(body.length).toBe(sizes[name]);
    }
  });

  test(`${name}: HEAD knows no ranges`, async () => {
    const { status, headers } = await ask(name, { Range: "bytes=1-2" }, "HEAD");
    expect(status).toBe(200);
    expect(headers.get("content-length")).toBe(String(sizes[name]));
  });
}

const script = "let a = 1;\n".repeat(20_000);

test("a compressed file beside it is sent to those who take it", async () => {
  put("app.js", script);
  put("app.js.gz", gzipSync(script));
  put("app.js.br", brotliCompressSync(script));
  for (const [accept, coding] of [
    ["gzip, deflate, br", "br"],
    ["gzip", "gzip"],
    ["gzip;q=1, br;q=0.5", "gzip"],
    ["br;q=0, gzip", "gzip"],
    ["gzip;q=0, br;q=0", null],
    ["identity", null],
    ["*", "br"],
  ] as const) {
    const { headers, body } = await ask("app.js", { "Accept-Encoding": accept });
    expect({ accept, coding: headers.get("content-encoding") }).toEqual({ accept, coding });
    expect(headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(headers.get("vary")).toBe("Accept-Encoding");
    expect(body.length < script.length).toBe(coding !== null);
  }
  const etags = ["br", "gzip", "identity"].map(async (coding) =>
    (await ask("app.js", { "Accept-Encoding": coding })).headers.get("etag"),
  );
  expect(new Set(await Promise.all(etags)).size).toBe(3);
});

test("a compressed file alone is no answer, and a picture is not looked for compressed", async () => {
  put("lonely.js.gz", gzipSync(script));
  put("picture.png", "png");
  put("picture.png.gz", gzipSync("png"));
  expect((await ask("lonely.js", { "Accept-Encoding": "gzip" })).body.toString()).toBe("reached");
  const picture = await ask("picture.png", { "Accept-Encoding": "gzip" });
  expect(picture.headers.get("content-encoding")).toBeNull();
  expect(picture.headers.get("vary")).toBeNull();
  expect((await ask("lonely.js.gz")).headers.get("content-type")).toBe("application/gzip");
});

test("ranges of a compressed file are ranges of what is sent", async () => {
  put("app.js", script);
  const zipped = gzipSync(script);
  put("app.js.gz", zipped);
  const headers = { "Accept-Encoding": "gzip", Range: "bytes=2-5" };
  const { status, body, headers: answered } = await ask("app.js", headers);
  expect({ status, coding: answered.get("content-encoding") }).toEqual({
    status: 206,
    coding: "gzip",
  });
  expect(body.equals(zipped.subarray(2, 6))).toBe(true);
});

function names(header: string | null): string[] {
  return acceptedCodings(header).map(({ name }) => name);
}

test("what a visitor accepts", () => {
  expect(names(null)).toEqual([]);
  expect(names("")).toEqual([]);
  expect(names("BR ; q=0.9 , GZIP;Q=0.8")).toEqual(["br", "gzip"]);
  expect(names("x-gzip")).toEqual(["gzip"]);
  expect(names("gzip;q=0.5, *;q=0.7")).toEqual(["br", "gzip"]);
  expect(names("identity;q=1, gzip;q=0.5")).toEqual([]);
  expect(names("gzip;q=2, br;q=x")).toEqual([]);
});

test("types are known by extension, whatever its case; the unknown are bytes", () => {
  expect(mediaTypeOf("a.HTML").name).toBe("text/html; charset=utf-8");
  expect(mediaTypeOf("a.min.js").name).toBe("text/javascript; charset=utf-8");
  expect(mediaTypeOf("a.woff2").name).toBe("font/woff2");
  for (const name of ["LICENSE", "a.constructor", "a.d/b", "a."]) {
    expect(mediaTypeOf(name).name).toBe("application/octet-stream");
  }
});
