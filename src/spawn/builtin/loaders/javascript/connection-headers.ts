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

/** The lines of headers, without those that describe a connection. */
export function withoutConnection(lines: readonly string[]): string[] {
  const connections = lines.filter((line) => nameOf(line) === "connection");
  const values = connections.map((line) => line.slice("connection:".length));
  return withoutNamed(
    lines.filter((line) => !connectionHeaders.has(nameOf(line))),
    values.join(),
  );
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
