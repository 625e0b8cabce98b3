/** Raw requests about everything before the body, and about connections. */
import { get, hello, host, post, refused, served, staying, type RawSection } from "./raw-case.ts";
import type { Step } from "./raw-exchange.ts";

const lines: RawSection = {
  title: "Lines and headers",
  cases: [
    refused("LF alone at every line's end", `GET / HTTP/1.1\nHost: a\n\n`),
    refused("LF alone after a header", get("/", "X: 1\n")),
    refused("LF alone at the end of the head", `GET / HTTP/1.1\r\n${host}\n`),
    refused("CR alone in a value", get("/", "X: a\rb\r\n")),
    refused("CR alone at a header's end", get("/", "X: a\rY: b\r\n")),
    refused("CR CR LF", get("/", "X: a\r\r\n")),
    refused("a folded header", get("/", "X: a\r\n b\r\n")),
    refused("a header folded by a tab", get("/", "X: a\r\n\tb\r\n")),
    refused("a blank before the first header", `GET / HTTP/1.1\r\n ${host}\r\n`),
    refused("NUL in a value", get("/", "X: a\0b\r\n")),
    refused("NUL in a name", get("/", "X\0Y: a\r\n")),
    refused("a control character in a value", get("/", "X: a\x01b\r\n")),
    refused("a blank before the colon", get("/", "X : a\r\n")),
    refused("a tab before the colon", get("/", "X\t: a\r\n")),
    refused("a header without a name", get("/", ": a\r\n")),
    refused("a header without a colon", get("/", "Xabc\r\n")),
    refused("a blank in a name", get("/", "X Y: a\r\n")),
    refused("a byte above 127 in a name", get("/", "X\xe9: a\r\n")),
    refused("a parenthesis in a name", get("/", "X(Y): a\r\n")),
    {
      ...served("bytes above 127 in a value", get("/", "X: \xe9\xff\r\n"), "GET / "),
      header: ["x", "\xe9\xff"],
    },
    { ...served("an empty value", get("/", "X:\r\n"), "GET / "), header: ["x", ""] },
    {
      ...served("a repeated header", get("/", "X: a\r\nX: b\r\n"), "GET / "),
      header: ["x", "a, b"],
    },
    refused("a header of 20 KB", get("/", `X: ${"x".repeat(20_000)}\r\n`), 431),
    refused("a name of 20 KB", get("/", `${"x".repeat(20_000)}: a\r\n`), 431),
    refused("300 headers", get("/", "X: a\r\n".repeat(300)), 431),
    served("150 headers", get("/", "X: a\r\n".repeat(150)), "GET / "),
    served(
      "the head in pieces",
      [
        "GET / HT",
        { waitMs: 20 },
        `TP/1.1\r\n${host.slice(0, 7)}`,
        { waitMs: 20 },
        host.slice(7),
        "\r\n",
      ],
      "GET / ",
    ),
  ],
};

const hosts: RawSection = {
  title: "Host",
  cases: [
    refused("no Host in HTTP/1.1", "GET / HTTP/1.1\r\nX: a\r\n\r\n"),
    served("no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / "),
    served("an empty Host", "GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "GET / "),
    ...[
      "a b",
      "a/b",
      "u@a",
      'a"b',
      "a:99999",
      "a?x",
      "a#x",
      "a,b",
      "\xe9.example",
      "-a",
      "[::1",
    ].map((value) =>
      refused(
        `\`Host: ${value.replace("\xe9", "\\xe9")}\``,
        `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`,
      ),
    ),
    refused("two Hosts", get("/", "Host: b.example\r\n")),
    refused("two equal Hosts", get("/", "Host: a.example\r\n")),
    served("`Host: a:`, the port empty", get("/").replace("a.example", "a:"), "GET / "),
    served("`Host: [::1]:80`", get("/").replace("a.example", "[::1]:80"), "GET / "),
    {
      ...served("an absolute URI: its host counts", get("http://b.example/x?y"), "GET /x?y "),
      header: ["host", "b.example"],
    },
    {
      ...served("the same in HTTP/1.0, no Host", "GET http://b/x HTTP/1.0\r\n\r\n", "GET /x "),
      header: ["host", "b"],
    },
    served("an absolute URI without a path", get("http://b.example"), "GET / "),
    refused("an absolute URI with a user", get("http://u:p@b.example/x")),
    refused("an absolute URI without a host", get("http:///x")),
    refused("an absolute URI of another scheme", get("ftp://b.example/x")),
  ],
};

const targets: RawSection = {
  title: "Targets",
  cases: [
    refused("`CONNECT b.example:443`", get("b.example:443").replace("GET", "CONNECT"), 405),
    refused("`GET b.example:443`", get("b.example:443")),
    { ...served("`OPTIONS *`", get("*").replace("GET", "OPTIONS"), "OPTIONS * "), varies: true },
    refused("`GET *`", get("*")),
    refused("`GET x/y`", get("x/y")),
    refused("`GET ?a`", get("?a")),
    refused("no target", `GET HTTP/1.1\r\n${host}\r\n`),
    refused("`/a/../b`", get("/a/../b")),
    refused("`/../../etc/passwd`", get("/../../etc/passwd")),
    refused("`/a/%2e%2e/b`", get("/a/%2e%2e/b")),
    refused("`/a\\..\\b`", get("/a\\..\\b")),
    served("`/a..b/...`", get("/a..b/..."), "GET /a..b/... "),
    refused("`/a/..%2fb`", get("/a/..%2fb")),
    refused("`/a/%2e%2e%5cb`", get("/a/%2e%2e%5cb")),
    served("`/a%2fb`", get("/a%2fb"), "GET /a%2fb "),
    served("`//a//b`", get("//a//b"), "GET //a//b "),
    served("`//b.example/x`", get("//b.example/x"), "GET //b.example/x "),
    refused("`/a%00b`", get("/a%00b")),
    served("`/a%0d%0ab`", get("/a%0d%0ab"), "GET /a%0d%0ab "),
    refused("`/a%zz`", get("/a%zz")),
    refused("`/a%2`", get("/a%2")),
    served("`/?%zz`", get("/?%zz"), "GET /?%zz "),
    refused("a fragment", get("/a#b")),
    refused("a fragment after a query", get("/a?b#c")),
    { ...served("bytes of UTF-8", get("/\xc3\xa9"), "GET /\xc3\xa9 "), varies: true },
    { ...served("bytes that are no UTF-8", get("/\xe9"), "GET /\xe9 "), varies: true },
    { ...served('`/a"<>^{}`', get('/a"<>^{}'), 'GET /a"<>^{} '), varies: true },
    { ...served("`/'`", get("/'"), "GET /' "), varies: true },
    refused("NUL in the target", get("/a\0b")),
    refused("a control character in the target", get("/a\x01b")),
    refused("a blank in the target", get("/a b")),
    refused("a target of 10 KB", get(`/${"x".repeat(10_000)}`), 414),
    refused("a target of 20 KB", get(`/${"x".repeat(20_000)}`), 431),
  ],
};

const requestLines: RawSection = {
  title: "Methods and versions",
  cases: [
    refused("`TRACE`", get("/").replace("GET", "TRACE"), 405),
    served("`PROPFIND`", get("/").replace("GET", "PROPFIND"), "PROPFIND / "),
    refused("`TRACK`", get("/").replace("GET", "TRACK"), 405),
    refused("`get`", get("/").replace("GET", "get"), 501),
    { ...served("`BREW`", get("/").replace("GET", "BREW"), "BREW / "), varies: true },
    refused("a method of 50 characters", get("/").replace("GET", "G".repeat(50)), 501),
    refused("`G@T`", get("/").replace("GET", "G@T")),
    refused("a method of 20 KB", get("/").replace("GET", "G".repeat(20_000)), 431),
    refused("two blanks after the method", get(" /")),
    refused("tabs instead of blanks", `GET\t/\tHTTP/1.1\r\n${host}\r\n`),
    refused("a blank after the version", `GET / HTTP/1.1 \r\n${host}\r\n`),
    served("an empty line before the request", `\r\n${get("/")}`, "GET / "),
    refused("twenty of them", "\r\n".repeat(20)),
    refused("a blank before the request", ` ${get("/")}`),
    refused("HTTP/0.9", "GET /\r\n"),
    served("HTTP/1.0", get("/").replace("1.1", "1.0"), "GET / "),
    served(
      "HTTP/1.0 with keep-alive, twice",
      `GET / HTTP/1.0\r\n${staying}Connection: keep-alive\r\n\r\n`.repeat(2),
      "GET / ",
      "GET / ",
    ),
    ...["HTTP/1.2", "HTTP/2.0", "HTTP/0.1"].map((version) =>
      refused(`\`${version}\``, get("/").replace("HTTP/1.1", version), 505),
    ),
    ...["HTTP/11", "HTTP/1.10", "http/1.1", "HTTPX/1.1"].map((version) =>
      refused(`\`${version}\``, get("/").replace("HTTP/1.1", version)),
    ),
    refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("a TLS greeting", `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${"x".repeat(100)}`),
    refused("the PROXY protocol", `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${get("/")}`),
    refused("bytes that mean nothing", "\x00\x01\x02\x03\r\n\r\n"),
  ],
};

const connections: RawSection = {
  title: "Connections",
  cases: [
    served(
      "three requests at once",
      `GET /1 HTTP/1.1\r\n${staying}\r\nGET /2 HTTP/1.1\r\n${staying}\r\n${get("/3")}`,
      "GET /1 ",
      "GET /2 ",
      "GET /3 ",
    ),
    served(
      "a request after a body, before the answer",
      `POST /1 HTTP/1.1\r\n${staying}Content-Length: 5\r\n\r\nhello${get("/2")}`,
      "POST /1 hello",
      "GET /2 ",
    ),
    served(
      "a request after the answer",
      [`GET /1 HTTP/1.1\r\n${staying}\r\n`, { until: "reached" }, get("/2")],
      "GET /1 ",
      "GET /2 ",
    ),
    served(
      "an empty line after a body, and a request",
      `POST /1 HTTP/1.1\r\n${staying}Content-Length: 5\r\n\r\nhello\r\n${get("/2")}`,
      "POST /1 hello",
      "GET /2 ",
    ),
    served("a request after one that closes", get("/1") + get("/2"), "GET /1 "),
    {
      title: "a bad request after a good one",
      sent: [`GET /1 HTTP/1.1\r\n${staying}\r\n`, { until: "reached" }, "\0\r\n\r\n"],
      answers: [200, 400],
      reached: ["GET /1 "],
    },
    served(
      "the sending side closed after the request",
      [`GET / HTTP/1.1\r\n${staying}\r\n`, { close: "writing" }],
      "GET / ",
    ),
    served(
      "the sending side closed after two requests",
      [`GET /1 HTTP/1.1\r\n${staying}\r\nGET /2 HTTP/1.1\r\n${staying}\r\n`, { close: "writing" }],
      "GET /1 ",
      "GET /2 ",
    ),
    {
      title: "the sending side closed within the head",
      sent: ["GET / HTTP/1.1\r\nHost: a", { close: "writing" }],
      answers: [],
    },
    {
      title: "`Expect: 100-continue`",
      sent: [
        post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""),
        { until: "HTTP/1.1 100 Continue\r\n\r\n" },
        "hello",
      ],
      answers: [100, 200],
      reached: [hello],
    },
    {
      title: "`Expect: 100-continue` and a Content-Length above the limit",
      sent: post("Expect: 100-continue\r\nContent-Length: 100000\r\n", ""),
      answers: [413],
    },
    {
      ...served("`Expect: 100-CONTINUE` in HTTP/1.0", [
        post("Expect: 100-CONTINUE\r\nContent-Length: 5\r\n", "hello").replace("1.1", "1.0"),
      ]),
      answers: [200],
      reached: [hello],
    },
    refused("`Expect: 200-ok`", post("Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"), 417),
    {
      ...served("`Upgrade: h2c`", get("/", "Upgrade: h2c\r\n"), "GET / "),
      header: ["upgrade", undefined],
    },
    {
      ...served("nothing after the answer", `GET / HTTP/1.1\r\n${staying}\r\n`, "GET / "),
      slow: true,
    },
    {
      ...served("an application slower than the idle time", get("/"), "GET / "),
      slow: true,
      workMs: 2500,
    },
    {
      ...served("the same, asked with a body", post("Content-Length: 5\r\n", "hello"), hello),
      slow: true,
      workMs: 2500,
    },
    { title: "no byte at all", sent: "", answers: [], slow: true },
    {
      title: "a head that stops",
      sent: "GET / HTTP/1.1\r\nHost: a\r\nX: ",
      answers: [408],
      slow: true,
    },
    {
      title: "a head that drips, three headers a second",
      sent: [
        "GET / HTTP/1.1\r\n",
        ...Array.from({ length: 30 }, (_, i): Step[] => [`X${i}: a\r\n`, { waitMs: 300 }]).flat(),
      ],
      answers: [408],
      slow: true,
    },
  ],
};

export const headSections: readonly RawSection[] = [
  lines,
  hosts,
  targets,
  requestLines,
  connections,
];
