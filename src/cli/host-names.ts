/** `hosts` of a table: names that visitors use, exact or with `*.` in front. */
import type { Table } from "./config-table.ts";

/** Letters, digits, inner dashes; at least one label; `*.` in front for all names below. */
const hostPattern =
  /^(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*$/;
const ipv6Pattern = /^\[[0-9a-f:.]+\]$/;

/** In lower case. */
export function readHosts(table: Table): string[] {
  return table.texts("hosts", 1).map((text) => {
    const host = text.toLowerCase();
    const isHost = host.length <= 253 && (hostPattern.test(host) || ipv6Pattern.test(host));
    if (!isHost) {
      table.wrong("hosts", `'${text}' is no host name (without port; '*.' only in front)`);
    }
    return host;
  });
}
