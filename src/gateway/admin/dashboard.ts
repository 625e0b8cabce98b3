/**
 * The dashboard: one page with all it needs in it, part of the binary. The policy that goes with it
 * lets a browser run and apply exactly what stands there, and ask this address alone.
 */
import { createHash } from "node:crypto";

import source from "./dashboard.html" with { type: "text" };

// Bun's types know pages as what its own server bundles.
const page = source as unknown as string;

const policy = [
  "default-src 'none'",
  `script-src ${hashOf("script")}`,
  `style-src ${hashOf("style")}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export const dashboard = {
  page,
  lines:
    `Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: ${policy}\r\n` +
    "X-Frame-Options: DENY\r\n",
} as const;

/** What stands in the page's one element of that name (CSP 3, 2.3.1). */
function hashOf(element: string): string {
  const [, text = ""] = new RegExp(`<${element}>([^]*?)</${element}>`).exec(page) ?? [];
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
