/** `--help` of the scripts: the header of each says what it does and how it is called. */
import { readFileSync } from "node:fs";

/** Shows the header of a script and ends, if that is asked for. @param path of the script. */
export function showUsage(args: readonly string[], path: string): void {
  if (!args.includes("--help")) return;
  const [, header = ""] = /^\/\*\*\n(.*?)\n \*\//s.exec(readFileSync(path, "utf8")) ?? [];
  console.log(header.replaceAll(/^ \* ?/gm, ""));
  process.exit(0);
}
