/**
 * Which files of `public/` a path may mean. As the web servers of 2008 did for Rails: the file of
 * that name; `foo.html` for `/foo`, where an application has put a page in store; `index.html` for
 * `/` and `/foo/`. Never a name that begins with a dot, but for `.well-known`; nothing that only
 * becomes a path when it is decoded.
 */
import type { ByteString } from "../../wire/bytes.ts";
import { decodePath } from "../../wire/cgi.ts";

const wellKnown = "/.well-known/";
/** PATH_MAX (limits.h), less what is appended. */
const maxPathBytes = 4000;

/**
 * Names relative to `public/`, the likelier first; empty: it can be no file.
 * @param below the rest of a request's path behind the application's prefix, not decoded.
 */
export function fileNames(below: string): ByteString[] {
  const decoded = decode(below === "" ? "/" : below);
  if (decoded === undefined || decoded.length > maxPathBytes) return [];
  const hidden = decoded.startsWith(wellKnown) ? wellKnown.length - 1 : 0;
  if (decoded.includes("/.", hidden) || decoded.includes("//")) return [];
  const name = decoded.slice(1);
  if (name === "" || name.endsWith("/")) return [`${name}index.html` as ByteString];
  const hasExtension = name.includes(".", name.lastIndexOf("/") + 1);
  return (hasExtension ? [name] : [name, `${name}.html`]) as ByteString[];
}

/** The bytes; undefined where decoding makes something of it that is no name. */
function decode(encoded: string): string | undefined {
  if (!encoded.includes("%")) return encoded;
  if (/%(?:00|2f|5c)/i.test(encoded)) return undefined;
  return decodePath(encoded);
}
