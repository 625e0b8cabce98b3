/** What others say, as it is shown to people: a terminal obeys nothing in it. */
import { printable } from "../wire/bytes.ts";

/** Control characters but line ends are escaped. */
export function harmless(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
