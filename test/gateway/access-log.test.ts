/** The access log: its lines, what visitors cannot do to them, and that nothing waits for it. */
import { describe, expect, test } from "bun:test";
import { readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { compileFields, compileFormat, jsonLine } from "../../src/gateway/log/access-format.ts";
import { commonLine } from "../../src/gateway/log/access-lines.ts";
import { BufferedLog } from "../../src/native/buffered-log.ts";
import { openLogFile } from "../../src/gateway/log/log-file.ts";
import type { Origin } from "../../src/gateway/policy/forwarded.ts";
import type { VisitRecord } from "../../src/gateway/worker/visit-record.ts";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { app } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

function visit(changes: Partial<VisitRecord & Origin> = {}): VisitRecord {
  const { id = "an-id", remoteAddress = "192.0.2.7", host = "shop.example.com" } = changes;
  return {
    origin: { id, remoteAddress, forwardedFor: remoteAddress, scheme: "http", host },
    receivedMs: performance.now(),
    method: "GET",
    target: "/cart?n=1",
    app: app("shop"),
    queueMs: 0.12,
    pid: 4711,
    status: 200,
    bytes: 512,
    failure: "",
    ...changes,
  };
}

const time = Date.UTC(2026, 10, 25, 19, 4, 15, 700);
const plain = new Headers({ "user-agent": "curl/8.5", referer: "http://elsewhere/" });

test("the common form: the Combined Log Format, then our figures", () => {
  const line = commonLine(visit(), plain, time);
  expect(line.replace(/ms=\d+\.\d /, "ms=N ")).toBe(
    '192.0.2.7 - - [25/Nov/2026:19:04:15 +0000] "GET /cart?n=1 HTTP/1.1" 200 512 ' +
      '"http://elsewhere/" "curl/8.5" host=shop.example.com ms=N queue=0.1 app=shop ' +
      "pid=4711 id=an-id\n",
  );
  const nothing = visit({ remoteAddress: "", host: "", app: undefined, pid: 0, status: 404 });
  expect(commonLine(nothing, new Headers(), time)).toMatch(
    /^- - - \[.*\] "GET .* HTTP\/1\.1" 404 512 "-" "-" host=- ms=.* app=- pid=- id=an-id\n$/,
  );
});

test("the JSON form has the same; what went wrong only when something has", () => {
  const { ms, ...line } = JSON.parse(jsonLine(visit(), plain, time)) as Record<string, unknown>;
  expect(typeof ms).toBe("number");
  expect(line).toEqual({
    time: "2026-11-25T19:04:15.700Z",
    remote: "192.0.2.7",
    scheme: "http",
    host: "shop.example.com",
    method: "GET",
    target: "/cart?n=1",
    status: 200,
    bytes: 512,
    queueMs: 0.1,
    app: "shop",
    pid: 4711,
    id: "an-id",
    referer: "http://elsewhere/",
    userAgent: "curl/8.5",
  });
  expect(jsonLine(visit({ failure: "it died" }), plain, time)).toContain('"failure":"it died"');
});

const hostile = 'a"b\\c\r\nGET / d\x1b[31me\x7f\u0085é\u2028😀';

test("a visitor's values cannot end a line, close a quotation, or reach a terminal", () => {
  // Headers cannot hold all of this; the log does not rely on that.
  const headers = { get: () => hostile };
  const changes = { target: hostile, host: hostile, method: hostile, id: hostile };
  const common = commonLine(visit(changes), headers, time);
  expect(common).toMatch(/^[ -~]+\n$/);
  expect(common).toContain('a\\"b\\\\c\\x0d\\x0aGET / d\\x1b[31me\\x7f\\xc2\\x85\\xc3\\xa9');
  // Quotation marks that are not escaped come in pairs: three of them.
  expect(common.replace(/\\./g, "").match(/"/g)).toHaveLength(6);
  expect(common).toContain('host=a\\"b\\\\c\\x0d\\x0aGET\\x20/');
  const json = jsonLine(visit(changes), headers, time);
  expect(json).toMatch(/^[^\p{Cc}\u2028]+\n$/u);
  expect(json.indexOf("\n")).toBe(json.length - 1);
  expect(JSON.parse(json)).toMatchObject({ target: hostile, userAgent: hostile });
});

test("a long value is cut", () => {
  const long = visit({ target: `/${"x".repeat(100_000)}` });
  for (const line of [commonLine(long, plain, time), jsonLine(long, plain, time)]) {
    expect(line.length).toBeLessThan(3000);
    expect(line).toContain("xxx...");
  }
});

function logTo(path: string): BufferedLog {
  return new BufferedLog("requests", () => openLogFile(path).take());
}

test("lines are gathered, and all of them arrive in their order", async () => {
  const path = join(temporaryDirectory(), "log");
  const log = logTo(path);
  const lines = Array.from({ length: 5000 }, (_, i) => `line ${i} ${"x".repeat(i % 90)}\n`);
  for (const line of lines.slice(0, 4000)) log.write(line);
  await until("the first are written", () => readFileSync(path, "utf8").length > 0);
  for (const line of lines.slice(4000)) log.write(line);
  await log.close();
  expect(readFileSync(path, "utf8")).toBe(lines.join(""));
});

test("after a rotation, lines go to the new file; if there can be none, to the old", async () => {
  const directory = temporaryDirectory();
  const path = join(directory, "logs");
  await Bun.write(join(path, "log"), "");
  const log = logTo(join(path, "log"));
  log.write("one\n");
  await until("it is written", () => readFileSync(join(path, "log"), "utf8") === "one\n");
  renameSync(join(path, "log"), join(path, "old"));
  log.reopen();
  log.write("two\n");
  await until("it is in the new file", () => readFileSync(join(path, "log"), "utf8") === "two\n");
  renameSync(path, join(directory, "elsewhere"));
  expect(() => log.reopen()).toThrow("ENOENT");
  log.write("three\n");
  await log.close();
  expect(readFileSync(join(directory, "elsewhere/log"), "utf8")).toBe("two\nthree\n");
});

test("a rotation takes effect also while lines come without a pause", async () => {
  const path = join(temporaryDirectory(), "log");
  const log = logTo(path);
  const line = `${"x".repeat(40_000)}\n`;
  log.write(line);
  log.write(line); // makes a piece: from here on it writes
  renameSync(path, `${path}.1`);
  log.reopen();
  await until("the new file has lines", () => {
    log.write(line);
    return readFileSync(path, "utf8") !== "";
  });
  await log.close();
  const both = readFileSync(`${path}.1`, "utf8") + readFileSync(path, "utf8");
  expect(both.replaceAll(line, "")).toBe("");
});

test("lines that a full disk did not take are counted when there is room", async () => {
  const path = join(temporaryDirectory(), "log");
  symlinkSync("/dev/full", path);
  const log = logTo(path);
  log.write(`${"x".repeat(70_000)}\n`); // makes a piece: it is being written
  renameSync(path, `${path}.1`);
  log.reopen();
  log.write("there is room\n");
  await log.close();
  expect(readFileSync(path, "utf8")).toBe("(1 requests were not logged: no room)\nthere is room\n");
});

test("a pipe that nobody reads: the buffer is bounded, and what was lost is counted", async () => {
  const path = join(temporaryDirectory(), "fifo");
  expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
  expect(() => logTo(path)).toThrow("ENXIO");
  // A reader that opens the pipe and reads only when it is told to.
  const reader = Bun.spawn(["sh", "-c", 'exec 3<"$0"; read go; cat <&3', path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const log = await until("the pipe has a reader", () => {
    try {
      return logTo(path);
    } catch {
      return undefined;
    }
  });
  const line = `${"x".repeat(999)}\n`;
  for (let i = 0; i < 6000; i += 1) log.write(line);
  await reader.stdin.write("go\n");
  await reader.stdin.end();
  await log.close();
  const text = await reader.stdout.text();
  const lost = Number(/\((\d+) requests were not logged: no room\)\n/.exec(text)?.[1]);
  expect(lost).toBeGreaterThan(1000);
  expect(text.split(line).length - 1).toBe(6000 - lost);
});

test("a file that cannot be opened is named", () => {
  expect(() => logTo("/nonexistent/log")).toThrow("open the access log '/nonexistent/log': ENOENT");
});

describe("fields of one's own", () => {
  test("stand where the format says, whether it is text or JSON", () => {
    const format =
      '{{x} {commonTime} {remote} "{method} {path}" {status} {queueMs} {header:X-A} {pid}';
    const headers = new Headers({ "x-a": "b" });
    expect(compileFormat(format)(visit(), headers, time)).toBe(
      '{x} 25/Nov/2026:19:04:15 +0000 192.0.2.7 "GET /cart" 200 0.1 b 4711\n',
    );
    expect(
      compileFields(["status", "header:X-A", "app", "userAgent"])(visit(), headers, time),
    ).toBe('{"status":200,"header:X-A":"b","app":"shop","userAgent":null}\n');
  });

  test("no value ends a line, a quotation or, without one, a field; nothing is -", () => {
    const line = compileFormat('"{target}" {target} {header:referer} "{userAgent}" {host} {pid}');
    const evil = { target: '/a" 200\n192.0.2.9 \u009b\u2028\\', host: "", pid: 0 };
    const text = line(visit(evil), new Headers({ "user-agent": "é x" }), time);
    expect(text).toBe(
      String.raw`"/a\" 200\x0a192.0.2.9 \xc2\x9b\xe2\x80\xa8\\" ` +
        String.raw`/a\"\x20200\x0a192.0.2.9\x20\xc2\x9b\xe2\x80\xa8\\ - "\xc3\xa9 x" - -` +
        "\n",
    );
    const long = line(visit({ target: "x".repeat(10_000) }), new Headers(), time);
    expect(long.length).toBeLessThan(4_100);
    const json = compileFields(["target"])(visit(evil), new Headers(), time);
    expect(json).toBe(String.raw`{"target":"/a\" 200\n192.0.2.9 \u009b\u2028\\"}` + "\n");
  });

  test("a field that there is not, or a brace alone, is a mistake that names what there is", () => {
    expect(() => compileFormat("{nothing}")).toThrow(
      /'nothing' is no field; there are time, .*app,/,
    );
    expect(() => compileFields(["constructor"])).toThrow("'constructor' is no field");
    expect(() => compileFields(["header:"])).toThrow("is no field");
    expect(() => compileFormat("a { b")).toThrow("has no }");
    expect(() => compileFormat("{status}\n")).toThrow("control character");
  });
});
