/**
 * How visitors of a sticky application go on with the process that they had: by a cookie that holds
 * its key, or by their address. The key is what the pool calls that process: random, and of no use
 * for any other application. What is no key in form is not heeded, so that nobody fills the pool's
 * memory with inventions. The cookie's name is the application's own: of two on one host, each
 * reads its own.
 */
import type { AppConfig } from "../config.ts";
import type { RequestFields } from "../files/conditions.ts";

/** 16 random bytes in base64url (src/server/stickiness.ts). */
const key = "[A-Za-z0-9_-]{22}";

/** What leads to the visitor's process; empty: nothing yet; undefined: any process will do. */
export function tokenOf(
  { sticky, name }: AppConfig,
  fields: RequestFields,
  remoteAddress: string,
): string | undefined {
  switch (sticky) {
    case "off":
      return undefined;
    case "address":
      return remoteAddress;
    case "cookie": {
      const cookies = fields.get("cookie") ?? "";
      const pattern = new RegExp(`(?:^|; *)${cookieName(name)}=(${key})(?:;|$)`);
      return pattern.exec(cookies)?.[1] ?? "";
    }
  }
}

/**
 * The line that has the visitor come back to the process that has served him; empty where he knows
 * it already, or is known by his address. @param token what his request had.
 */
export function stickyLine(
  { sticky, name, prefix }: AppConfig,
  token: string | undefined,
  instanceKey: string,
  isSecure: boolean,
): string {
  if (sticky !== "cookie" || instanceKey === "" || instanceKey === token) return "";
  // No `;` may be in it: the prefix may hold one.
  const path = encodeURI(prefix).replaceAll(";", "%3B");
  const secure = isSecure ? "; Secure" : "";
  const attributes = `Path=${path}; HttpOnly; SameSite=Lax${secure}`;
  return `Set-Cookie: ${cookieName(name)}=${instanceKey}; ${attributes}\r\n`;
}

function cookieName(application: string): string {
  return `pool_${Bun.hash.crc32(application).toString(16).padStart(8, "0")}`;
}
