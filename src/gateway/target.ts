/**
 * What a request asks for: path and query as they came. Bun has parsed the target as a URL: it is
 * in absolute form, `.` and `..` are resolved, `\` is `/`, and what must be escaped is. Only
 * without a usable Host header it hands out the raw text; then the same is done here.
 */

export interface Target {
  /** Begins with `/`; as it came, not decoded. */
  readonly path: string;
  /** Path and query. */
  readonly text: string;
}

/** What is wrong with a target, as visitors are told. */
type TargetFault =
  | "it is too long"
  | "it has a fragment"
  | "its escapes are not right"
  | "its escapes hide a NUL"
  | "its escapes hide a way up";

/** The longest path and query: what the web servers around us take. */
const maxTargetBytes = 8 * 1024;

/** The target in a request's URL; undefined if it is none (`b.example:443` of CONNECT). */
export function targetOf(url: string): Target | undefined {
  const absolute = url.startsWith("/") ? resolve(url) : url;
  // `https://` is 8 characters, and no host is empty.
  const start = absolute?.indexOf("/", 8) ?? -1;
  if (absolute === undefined || start < 0) return undefined;
  const text = absolute.slice(start);
  const query = text.indexOf("?");
  return { path: query < 0 ? text : text.slice(0, query), text };
}

function resolve(raw: string): string | undefined {
  return URL.parse(`http://localhost${raw}`)?.href;
}

/**
 * What must not reach an application: decoded, its path would say something else than what was
 * routed, or nothing that can be passed on.
 */
export function faultOf({ path, text }: Target): TargetFault | undefined {
  if (text.length > maxTargetBytes) return "it is too long";
  if (text.includes("#")) return "it has a fragment";
  if (!path.includes("%")) return undefined;
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return "its escapes are not right";
  if (path.includes("%00")) return "its escapes hide a NUL";
  if (/%(?:2f|5c)/i.test(path) && hidesWayUp(path)) return "its escapes hide a way up";
  return undefined;
}

/** Whether `..` appears between slashes once those are decoded: `/a/..%2fb`. */
function hidesWayUp(path: string): boolean {
  const decoded = path.replace(/%2f|%5c/gi, "/").replace(/%2e/gi, ".");
  return /(?:^|[/\\])\.{1,2}(?:[/\\]|$)/.test(decoded);
}
