/**
 * Our parser beside one that is not ours: llhttp, in Node's http. What both take for a request must
 * be the same request; where only one does, the difference must be one of those listed here.
 * HTTP_SEED=n repeats one seed, HTTP_SEEDS=n takes so many.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

import { within } from "../helpers/condition.ts";
import { frame, type Framed, type FramedRequest } from "./frames.ts";
import { Random } from "./random.ts";
import { piecesOf, readCases } from "./raw/case.ts";

/** Rules of ours that llhttp does not have, and why we do. */
const stricter: Readonly<Record<string, string>> = {
  length: "RFC 9112, 6.3: more digits than a length can have, zeros or not",
  coding:
    "RFC 9112, 6.1: a coding we do not know cannot be passed on; llhttp leaves that to others",
  codingTwice: "RFC 9112, 6.1: an empty one beside chunked, too",
  codingInOld: "RFC 9112, 6.1: HTTP/1.0 knows no chunks",
  chunk: "a bound of ours on the line of a chunk; trailers have the form of headers",
  lineEnd: "RFC 9112, 2.2: llhttp reads over a CR or LF alone before a request",
  hostMissing: "RFC 9112, 3.2: Node looks at Host after llhttp",
  hostTwice: "RFC 9112, 3.2",
  host: "RFC 9112, 3.2",
  targetScheme: "RFC 9110, 7.4: not ours to serve",
  targetUser: "RFC 9110, 4.2.4",
  targetHost: "RFC 9110, 4.2.1",
  targetForm: "RFC 9112, 3.2: `*` is for OPTIONS, an authority for CONNECT",
  targetWayUp: "a way out of a directory for whoever resolves it",
  targetEscape: "RFC 3986, 2.1",
  targetNul: "the end of a name for whoever decodes it",
  targetFragment: "RFC 9112, 3.2.1",
  methodRefused: "RFC 9110, 9.3.6 and 9.3.8: not served here",
  requestLine: "RFC 9112, 3: HTTP/0.9, and blanks where there are none",
  version: "RFC 9110, 15.6.6: only HTTP/1.0 and 1.1",
  expectation: "RFC 9110, 10.1.1: Node looks at Expect after llhttp",
};

interface Looser {
  readonly why: string;
  /** Whether a request that llhttp does not take is one of these. */
  readonly fits: (request: FramedRequest, message: string) => boolean;
}

function hasTab(message: string, name: string): boolean {
  return new RegExp(`${name}:[^\\r]*\\t`, "i").test(message);
}

function hasTrailer(message: string, name: string): boolean {
  return new RegExp(`\\r\\n0+[^\\r]*\\r\\n(?:[^\\r]+\\r\\n)*${name}:`, "i").test(message);
}

/** What llhttp refuses and we take, by its code. */
const looser: Readonly<Record<string, Looser>> = {
  HPE_INVALID_CONTENT_LENGTH: {
    why: "RFC 9110, 5.5: blanks around a value are tabs, too; trailers are read over",
    fits: (_, message) =>
      hasTab(message, "content-length") || hasTrailer(message, "content-length"),
  },
  HPE_INVALID_TRANSFER_ENCODING: {
    why: "RFC 9110, 5.5: blanks around a value are tabs, too; trailers are read over",
    fits: (_, message) =>
      hasTab(message, "transfer-encoding") || hasTrailer(message, "transfer-encoding"),
  },
  HPE_INVALID_CHUNK_SIZE: {
    why: "RFC 9112, 7.1.1: blanks before an extension",
    fits: (_, message) => /[0-9a-f][ \t]+;/i.test(message),
  },
  HPE_STRICT: {
    why: "extensions are read over, well-formed or not: both see the same end of the line",
    fits: (_, message) => /[0-9a-f];/i.test(message),
  },
  HPE_INVALID_URL: {
    why: "bytes above 7F in a target are passed on as they were sent, as elsewhere",
    fits: ({ target }) => /[\x80-\xff]/.test(target),
  },
  HPE_INVALID_METHOD: {
    why: "RFC 9110, 9.1: every token is a method",
    fits: ({ method }) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method),
  },
  HPE_CLOSED_CONNECTION: {
    why: "RFC 9112, C.2.2: Proxy-Connection means nothing; trailers are read over",
    fits: (_, message) =>
      /proxy-connection:/i.test(message) || hasTrailer(message, "(?:proxy-)?connection"),
  },
  none: {
    why: "after an offer to upgrade llhttp reads no HTTP; we do until it is accepted",
    fits: (_, message) => /\r\nupgrade:/i.test(message),
  },
};

interface Other {
  readonly requests: readonly {
    readonly method: string;
    readonly url: string;
    readonly minor: number;
    readonly rawHeaders: readonly string[];
    readonly body: string;
  }[];
  readonly error: string | null;
}

let child: Bun.Subprocess<"pipe", "pipe", "inherit">;
let lines: AsyncIterator<string>;

beforeAll(() => {
  child = Bun.spawn(["node", join(import.meta.dir, "llhttp.cjs")], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "--no-deprecation" },
  });
  lines = linesOf(child.stdout);
});

afterAll(async () => {
  void child.stdin.end();
  await child.exited;
});

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const found = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = found.pop() ?? "";
    yield* found;
  }
}

async function askOther(messages: readonly Buffer[]): Promise<Other[]> {
  const asked = messages.map((bytes) => `${JSON.stringify({ bytes: bytes.toString("base64") })}\n`);
  void child.stdin.write(asked.join(""));
  void child.stdin.flush();
  const answers: Other[] = [];
  for (const _ of messages) {
    const { value } = await within("llhttp's answer", lines.next());
    answers.push(JSON.parse(value as string) as Other);
  }
  return answers;
}

function requestOf(other: Other["requests"][number]): FramedRequest {
  const { method, url, minor, rawHeaders, body } = other;
  const rest = url.replace(/^https?:\/\/[^/?#]*/i, "");
  const target = rest.startsWith("/") || rest === "*" ? rest : `/${rest}`;
  const fields = rawHeaders.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), rawHeaders[at + 1] ?? ""] as const] : [],
  );
  return { method, target, minor, fields, body };
}

const seen = new Set<string>();

/** How the two differ; empty: not, or in a way that is listed. */
function differenceOf(message: string, ours: Framed, other: Other): string {
  const theirs = other.requests.map(requestOf);
  for (let at = 0; at < Math.min(ours.requests.length, theirs.length); at += 1) {
    const [a, b] = [JSON.stringify(ours.requests[at]), JSON.stringify(theirs[at])];
    if (a !== b) return `framed differently: ${a} and ${b}`;
  }
  if (ours.requests.length < theirs.length) {
    seen.add(ours.end);
    // A tab is a blank around a word, too: llhttp overlooks `close` before one.
    const closes = ours.end === "closed" && hasTab(message, "connection");
    return closes || ours.end in stricter ? "" : `only llhttp takes it; here: ${ours.end}`;
  }
  const extra = ours.requests[theirs.length];
  if (extra === undefined) return "";
  const code = other.error ?? "none";
  seen.add(code);
  return looser[code]?.fits(extra, message) === true ? "" : `only we take it; llhttp: ${code}`;
}

const bases = readCases().map((rawCase) => Buffer.concat(piecesOf(rawCase).map((p) => p.data)));
async function compare(messages: readonly Buffer[], label: string): Promise<void> {
  const others = await askOther(messages);
  const differences = new Map<string, string>();
  for (const [at, message] of messages.entries()) {
    const text = message.toString("latin1");
    const difference = differenceOf(text, frame([message]), others[at] as Other);
    const kind = difference.slice(0, 60);
    if (difference !== "" && !differences.has(kind)) {
      differences.set(kind, `${difference}: ${JSON.stringify(text)}`);
    }
  }
  if (differences.size > 0) throw new Error(`${label}:\n${[...differences.values()].join("\n")}`);
}

/** Rare ones among random changes. */
const closing = "GET /1 HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n";
const second = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const emptyCoding = "Transfer-Encoding: chunked\r\nTransfer-Encoding: \r\n\r\n0\r\n\r\n";
const rare = [closing + second, `POST / HTTP/1.1\r\nHost: a\r\n${emptyCoding}`];

test("the raw requests, and rare ones", async () => {
  await compare([...bases, ...rare.map((text) => Buffer.from(text, "latin1"))], "the raw requests");
});

const bytes = ["\0", "\r", "\n", "\r\n", " ", "\t", ":", ";", ",", "\x80", "\xff", "0", "1", "a"];
const fields = [
  "Content-Length: 5",
  "Content-Length: 0",
  "Transfer-Encoding: chunked",
  "transfer-encoding: Chunked",
  "Connection: close",
  "Connection: keep-alive",
  "Expect: 100-continue",
  "Host: b",
  "X: y",
];

function mutate(random: Random, base: string): string {
  const at = random.below(base.length + 1);
  switch (random.below(6)) {
    case 0:
      return base.slice(0, at) + base.slice(at + 1);
    case 1:
      return base.slice(0, at) + random.pick(bytes) + base.slice(at);
    case 2:
      return base.slice(0, at) + random.pick(bytes) + base.slice(at + 1);
    case 3:
      return base.slice(0, at);
    case 4: {
      const line = base.indexOf("\r\n", at);
      if (line < 0) return base;
      return `${base.slice(0, line)}\r\n${random.pick(fields)}${base.slice(line)}`;
    }
    default:
      return base + random.pick(bases).toString("latin1");
  }
}

const seedCount = Number(process.env["HTTP_SEEDS"] ?? 20);

test("raw requests with random changes", async () => {
  const only = process.env["HTTP_SEED"];
  const seeds =
    only === undefined ? Array.from({ length: seedCount }, (_, n) => n + 1) : [Number(only)];
  for (const seed of seeds) {
    const random = new Random(seed);
    const messages = Array.from({ length: 200 }, () => {
      let text = random.pick(bases).toString("latin1").slice(0, 4000);
      for (let n = random.below(3); n >= 0; n -= 1) text = mutate(random, text);
      return Buffer.from(text, "latin1");
    });
    await compare(
      messages.filter(({ length }) => length > 0),
      `HTTP_SEED=${seed}`,
    );
  }
});

test("every difference that is listed occurs", () => {
  const listed = [...Object.keys(stricter), ...Object.keys(looser)];
  expect(listed.filter((kind) => !seen.has(kind))).toEqual([]);
});
