/** Bodies in chunks: where they end, and what is none. */
import { describe, expect, test } from "bun:test";
import { ChunkedDecoder } from "../../src/wire/chunked.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";

function decode(...parts: (string | Uint8Array)[]): { body: string; rest: string; done: boolean } {
  const decoder = new ChunkedDecoder();
  let body = "";
  let rest = "";
  for (const part of parts) {
    const bytes = Buffer.from(part as string, "latin1");
    const taken = decoder.push(bytes, (piece) => {
      body += Buffer.from(piece).toString("latin1");
    });
    rest += bytes.toString("latin1", taken);
  }
  return { body, rest, done: decoder.isDone };
}

describe("a body in chunks", () => {
  test("is its chunks without their frames", () => {
    const all = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    expect(decode(all)).toEqual({ body: "hello world", rest: "", done: true });
  });

  test("is the same however it is cut", () => {
    const all = "5;x=y\r\nhello\r\n00A\r\n0123456789\r\n0\r\nDigest: none\r\n\r\n";
    for (let at = 0; at <= all.length; at += 1) {
      const cut = decode(all.slice(0, at), all.slice(at));
      expect(cut).toEqual({ body: "hello0123456789", rest: "", done: true });
    }
    expect(decode(...all.split("")).body).toBe("hello0123456789");
  });

  test("ends where it ends: what follows is not taken", () => {
    expect(decode("1\r\na\r\n0\r\n\r\nrest")).toEqual({ body: "a", rest: "rest", done: true });
  });

  test("may hold line ends", () => {
    const all = "4\r\na\r\nb\r\n0\r\n\r\n";
    expect(decode(all)).toEqual({ body: "a\r\nb", rest: "", done: true });
  });

  test("is not done before its last line", () => {
    for (const part of ["", "5", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n"]) {
      expect(decode(part).done).toBe(false);
    }
  });

  for (const [what, text] of [
    ["a size that is no number", "x\r\n"],
    ["no size", "\r\n"],
    ["a signed size", "+5\r\nhello\r\n"],
    ["a size with a prefix", "0x5\r\nhello\r\n"],
    ["a size with a space before it", " 5\r\nhello\r\n"],
    ["a size with a space after it", "5 \r\nhello\r\n"],
    ["a size beyond what numbers hold", "00000000000005\r\nhello\r\n"],
    ["a line that ends with LF alone", "5\nhello\r\n"],
    ["data longer than announced", "5\r\nhello!\r\n"],
    ["data longer than announced, and no more yet", "5\r\nhelloX"],
    ["data without its line end", "5\r\nhello0\r\n\r\n"],
    ["a control character in an extension", "5;\x01\r\nhello\r\n"],
    ["an endless size line", `5;${"x".repeat(2000)}`],
    ["endless trailers", `0\r\n${`A: ${"x".repeat(900)}\r\n`.repeat(20)}`],
  ] as const) {
    test(`is an error with ${what}`, () => {
      expect(() => decode(text)).toThrow(ProtocolError);
    });
  }

  test("says that a chunk is too long, however much follows it", () => {
    for (const rest of ["X", "X".repeat(5_000), "\rX", "X\r\n"]) {
      expect(() => decode(`5\r\nhello${rest}`)).toThrow("longer than announced");
    }
  });
});
