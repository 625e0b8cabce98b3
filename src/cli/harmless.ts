/** What others say, as it is shown to people: a terminal obeys nothing in it. */
import { escapeControls, fromText, toText } from "../wire/bytes.ts";

/** Control characters but line ends are escaped. */
export function harmless(text: string): string {
  const lines = text.split("\n").map((line) => toText(escapeControls(fromText(line))));
  return lines.join("\n");
}
