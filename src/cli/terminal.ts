/** What commands show to people: a terminal obeys nothing in it, and nobody need read it. */
import { writeSync } from "node:fs";

import { printable } from "../wire/bytes.ts";

/** What others say: control characters but line ends are escaped. */
export function harmless(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** Writes all of it to stdout. @returns false: nobody reads. */
export function show(bytes: Uint8Array): boolean {
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return false;
    throw error;
  }
}
