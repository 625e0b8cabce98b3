/** Raw requests about lengths and chunks: where a body ends. */
import { get, hello, post, refused, served, type RawCase, type RawSection } from "./raw-case.ts";

function chunked(body: string): string {
  return post("Transfer-Encoding: chunked\r\n", body);
}

/** A chunked body that is no whole one: nobody is asked. */
function broken(title: string, body: string, status = 400): RawCase {
  return refused(title, chunked(body), status);
}

const length = (value: string, body = "hello"): string =>
  post(`Content-Length: ${value}\r\n`, body);
const coded = (value: string): string =>
  post(`Transfer-Encoding: ${value}\r\n`, "5\r\nhello\r\n0\r\n\r\n");
const helloChunk = "5\r\nhello\r\n";

const lengths: RawSection = {
  title: "Content-Length",
  cases: [
    served("`Content-Length: 5`", length("5"), hello),
    refused("`Content-Length: -1`", length("-1")),
    refused("`Content-Length: +5`", length("+5")),
    refused("`Content-Length: 0x5`", length("0x5")),
    refused("`Content-Length: 5.0`", length("5.0")),
    refused("`Content-Length: 5 5`", length("5 5")),
    refused("`Content-Length: 5, 5`", length("5, 5")),
    refused("`Content-Length: 5, 6`", length("5, 6")),
    refused("an empty Content-Length", length("")),
    refused("a Content-Length beyond 64 bits", length("18446744073709551621")),
    refused("a Content-Length of 20 digits, all but the last 0", length("00000000000000000005")),
    served("`Content-Length: 05`", length("05"), hello),
    served("blanks and tabs around a Content-Length", length("\t 5 \t"), hello),
    refused("two equal Content-Lengths", length("5\r\nContent-Length: 5")),
    refused("two different Content-Lengths", length("5\r\nContent-Length: 6", "hello!")),
    refused("`Content-Length: 0`, then `5`", length("0\r\nContent-Length: 5")),
    refused("`Content-Length : 5`", post("Content-Length : 5\r\n", "hello")),
    served("`Content_Length: 5` and no body", post("Content_Length: 5\r\n", ""), "POST / "),
    {
      ...served("GET with a body", `${get("/", "Content-Length: 5\r\n")}hello`, "GET / hello"),
      varies: true,
    },
    {
      ...served(
        "GET with chunks",
        `${get("/", "Transfer-Encoding: chunked\r\n")}${helloChunk}0\r\n\r\n`,
        "GET / hello",
      ),
      varies: true,
    },
    served("GET with `Content-Length: 0`", get("/", "Content-Length: 0\r\n"), "GET / "),
    {
      ...served(
        "HEAD with a body",
        `${get("/", "Content-Length: 5\r\n").replace("GET", "HEAD")}hello`,
        "HEAD / hello",
      ),
      varies: true,
    },
    served("DELETE with a body", length("5").replace("POST", "DELETE"), "DELETE / hello"),
    served("POST without any length", post("", ""), "POST / "),
    served("a body longer than its Content-Length", length("5", "hello, and more"), hello),
    refused("a Content-Length above the limit", length("100000", ""), 413),
    { ...refused("a body that stops", length("50"), 408), slow: true },
    {
      title: "a body that breaks off, the sending side closed",
      sent: [length("50"), { close: "writing" }],
      answers: [],
    },
  ],
};

const codings: RawSection = {
  title: "Transfer-Encoding",
  cases: [
    served("`Transfer-Encoding: chunked`", coded("chunked"), hello),
    served("`Transfer-Encoding: CHUNKED`", coded("CHUNKED"), hello),
    served("blanks and a tab before `chunked`", coded(" \tchunked"), hello),
    refused("both Content-Length and Transfer-Encoding", coded("chunked\r\nContent-Length: 5")),
    refused("both, the other way round", length("5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    refused("`gzip, chunked`", coded("gzip, chunked")),
    refused("`chunked, gzip`", coded("chunked, gzip")),
    refused("`chunked, chunked`", coded("chunked, chunked")),
    refused("`xchunked`", coded("xchunked")),
    refused("`xchunked` with a Content-Length", length("5\r\nTransfer-Encoding: xchunked")),
    refused('`"chunked"`', coded('"chunked"')),
    refused("`chunked;q=1`", coded("chunked;q=1")),
    refused("a vertical tab before `chunked`", coded("\vchunked")),
    refused("`identity`", length("5\r\nTransfer-Encoding: identity")),
    refused("an empty Transfer-Encoding", length("5\r\nTransfer-Encoding:")),
    refused("`chunked` twice", coded("chunked\r\nTransfer-Encoding: chunked")),
    refused("`chunked`, then `identity`", coded("chunked\r\nTransfer-Encoding: identity")),
    refused("`identity`, then `chunked`", coded("identity\r\nTransfer-Encoding: chunked")),
    refused("`Transfer-Encoding` in HTTP/1.0", coded("chunked").replace("1.1", "1.0")),
    refused(
      "`Transfer-Encoding : chunked`",
      post("Transfer-Encoding : chunked\r\n", `${helloChunk}0\r\n\r\n`),
    ),
    refused("`Transfer-Encoding` folded", coded("\r\n chunked")),
  ],
};

const chunks: RawSection = {
  title: "Chunks",
  cases: [
    served("an extension of a chunk", chunked('5;a="b"\r\nhello\r\n0\r\n\r\n'), hello),
    served("an extension with blanks", chunked('5 ; a = "b c"\r\nhello\r\n0 ;d\r\n\r\n'), hello),
    served("zeros before a size", chunked("000005\r\nhello\r\n000\r\n\r\n"), hello),
    broken("an extension with a bare LF", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    broken("an extension of 100 KB", `5;${"x".repeat(100_000)}\r\nhello\r\n0\r\n\r\n`),
    broken("size `-5`", "-5\r\nhello\r\n0\r\n\r\n"),
    broken("size `+5`", "+5\r\nhello\r\n0\r\n\r\n"),
    broken("size `0x5`", "0x5\r\nhello\r\n0\r\n\r\n"),
    broken("size `g`", "g\r\nhello\r\n0\r\n\r\n"),
    broken("no size", "\r\nhello\r\n0\r\n\r\n"),
    broken("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    broken("a blank after the size", "5 \r\nhello\r\n0\r\n\r\n"),
    broken("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    broken("LF alone between chunks", "5\nhello\n0\n\n"),
    broken("CR alone after a size", "5\rhello\r\n0\r\n\r\n"),
    broken("no CRLF after a chunk", "5\r\nhelloXX0\r\n\r\n"),
    broken("a chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    broken("a chunk longer than its size, and then nothing", "5\r\nhelloX"),
    served("trailers", chunked(`${helloChunk}0\r\nX-Trailer: 1\r\n\r\n`), hello),
    broken("a trailer that is no header", `${helloChunk}0\r\nX Trailer: 1\r\n\r\n`),
    broken("a request where the last CRLF should be", `${helloChunk}0\r\n${get("/smuggled")}`),
    broken("chunks above the limit", `fffff\r\n${"x".repeat(100_000)}`, 413),
    { ...broken("chunks that stop", "5\r\nhel", 408), slow: true },
    { ...broken("no last chunk", helloChunk, 408), slow: true },
    {
      title: "no last chunk, the sending side closed",
      sent: [chunked(helloChunk), { close: "writing" }],
      answers: [],
    },
  ],
};

export const bodySections: readonly RawSection[] = [lengths, codings, chunks];
