/**
 * What a request asks for (RFC 9112, 3.2): path and query as they were sent, and the host where the
 * target names one. Nothing of it is decoded, resolved or escaped anew: signatures are made over
 * what was sent. So what would mean another path to somebody who decodes or resolves it is refused.
 */
import { isHost } from "./host.ts";
import { refusals, type Refusal } from "./refusals.ts";

export interface Target {
  readonly kind: "target";
  /** Path and query as sent; `*` of OPTIONS. */
  readonly text: string;
  /** As sent, without the query. */
  readonly path: string;
  /** Of an absolute target: it takes the place of the Host header (RFC 9112, 3.2.2). */
  readonly host: string | undefined;
}

/** The longest path and query: what the web servers around us take, and RFC 9112, 3 recommends. */
const maxTargetBytes = 8 * 1024;

/** @param sent the request line's target; it holds neither blanks nor control characters. */
export function parseTarget(method: string, sent: string): Target | Refusal {
  if (sent.charCodeAt(0) === 0x2f) return checked(sent, undefined);
  if (sent === "*") {
    return method === "OPTIONS" ? checked(sent, undefined) : refusals.targetForm;
  }
  const absolute = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(.*)$/.exec(sent);
  if (absolute === null) return refusals.targetForm;
  const [, scheme = "", authority = "", rest = ""] = absolute;
  if (!/^https?$/i.test(scheme)) return refusals.targetScheme;
  if (authority.includes("@")) return refusals.targetUser;
  if (!isHost(authority)) return refusals.targetHost;
  return checked(rest.startsWith("/") ? rest : `/${rest}`, authority);
}

function checked(text: string, host: string | undefined): Target | Refusal {
  if (text.length > maxTargetBytes) return refusals.targetTooLong;
  if (text.includes("#")) return refusals.targetFragment;
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  if (path.includes("%")) {
    if (/%(?![0-9A-Fa-f]{2})/.test(path)) return refusals.targetEscape;
    if (path.includes("%00")) return refusals.targetNul;
  }
  // Almost no path has one of these; the parts are looked at where one has.
  if ((path.includes("..") || /%2e/i.test(path)) && leadsUp(path)) return refusals.targetWayUp;
  return { kind: "target", text, path, host };
}

/** Whether a segment is `..` for anybody who decodes it, or takes `\` for `/`. */
function leadsUp(path: string): boolean {
  const decoded = path.replace(/%2f|%5c/gi, "/").replace(/%2e/gi, ".");
  return /(?:^|[/\\])\.\.(?:[/\\;]|$)/.test(decoded);
}
