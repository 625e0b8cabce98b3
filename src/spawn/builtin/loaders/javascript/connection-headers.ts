/**
 * Headers of answers that describe a connection, which a session is not: the front end has its own.
 * Runs inside instances.
 */

/** In small letters; with them `Status`, which would be another one in CGI form. */
export const connectionHeaders: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "status",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What a Connection header cannot take away: the first line, and what frames the body. */
const lasting = new Set(["", "status", "content-length", "transfer-encoding"]);

/** What Node says by itself: it names no header but those that go anyway. */
const namesNone = /^(?: (?:keep-alive|close),)?$/;

/** The lines of headers, without those that describe a connection. */
export function withoutConnection(lines: readonly string[]): string[] {
  const kept: string[] = [];
  let named = "";
  for (const line of lines) {
    const name = nameOf(line);
    if (name === "connection") named += `${line.slice("connection:".length)},`;
    else if (!connectionHeaders.has(name)) kept.push(line);
  }
  return namesNone.test(named) ? kept : withoutNamed(kept, named);
}

/**
 * Lines without the headers that a Connection header names: they are about the connection too, and
 * nobody behind us could see that any more (RFC 9110, 7.6.1).
 */
export function withoutNamed(lines: readonly string[], connection: string): string[] {
  const named = new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
  return lines.filter((line) => lasting.has(nameOf(line)) || !named.has(nameOf(line)));
}

function nameOf(line: string): string {
  return line.slice(0, Math.max(0, line.indexOf(":"))).toLowerCase();
}
