/** Random requests that are right, and the bytes for them in one of their forms. */
import type { FramedRequest } from "./frames.ts";
import type { Random } from "./random.ts";

const methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "X-ANY"];
const targets = ["/", "/a?b=c&d='%27", "/%C3%A9", "/a//b/", "/?", "/a;b=c", `/${"x".repeat(3000)}`];
const fields: (readonly [string, string])[] = [
  ["X-A", "1"],
  ["x-a", "2"],
  ["Accept", "*/*, text/html;q=0.5"],
  ["Cookie", 'a=b; c="d"'],
  ["X-Empty", ""],
  ["X-High", "caf\xe9\xa0"],
  ["User-Agent", "x".repeat(500)],
];
const blanks = ["", " ", "\t", "  \t "];

/** A request, and the bytes for it in one of the forms it can have. */
export function compose(random: Random): { request: FramedRequest; text: string } {
  const method = random.pick(methods);
  const target = random.pick(targets);
  const body = "body\r\n\r\nGET / HTTP/1.1\r\n".repeat(random.below(4)).slice(0, random.below(90));
  const form =
    body === "" ? random.pick(["none", "zero", "chunked"]) : random.pick(["length", "chunked"]);
  const framing: (readonly [string, string])[] =
    form === "none"
      ? []
      : form === "chunked"
        ? [["Transfer-Encoding", random.pick(["chunked", "Chunked"])]]
        : [["Content-Length", `${"0".repeat(random.below(3))}${body.length}`]];
  const chosen = Array.from({ length: random.below(6) }, () => random.pick(fields));
  const all = [["Host", "a.example"] as const, ...chosen];
  all.splice(random.below(all.length + 1), 0, ...framing);
  const lines = all.map(
    ([name, value]) => `${name}:${random.pick(blanks)}${value}${random.pick(blanks)}\r\n`,
  );
  const before = "\r\n".repeat(random.below(3));
  const head = `${before}${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return {
    request: {
      method,
      target,
      minor: 1,
      fields: all.map(([name, value]) => [name.toLowerCase(), value] as const),
      body,
    },
    text: head + (form === "chunked" ? inChunks(random, body) : body),
  };
}

function inChunks(random: Random, body: string): string {
  const pieces = body === "" ? [] : random.cut(Buffer.from(body, "latin1"), 1 + random.below(4));
  const extension = (): string => random.pick(["", ";a", " ; a = b", ';a="b;c d"']);
  const chunks = pieces.map((piece) => {
    const size = piece.length.toString(16);
    const digits = random.pick([size, size.toUpperCase(), `0${size}`]);
    return `${digits}${extension()}\r\n${Buffer.from(piece).toString("latin1")}\r\n`;
  });
  const trailers = random.pick(["", "X-T: 1\r\n", "A: b\r\nContent-Length: 5\r\n"]);
  return `${chunks.join("")}0${extension()}\r\n${trailers}\r\n`;
}
