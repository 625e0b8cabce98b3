/**
 * The command line as bytes. Bun decodes argv as UTF-8 and loses what is not; a path may be any
 * bytes, so where something was lost the bytes are read back from the kernel (proc(5),
 * /proc/self/cmdline).
 */
import { fromBytes, fromText, type ByteString } from "../wire/bytes.ts";

/** The arguments after the program, byte for byte. */
export function argumentBytes(): ByteString[] {
  const texts = process.argv.slice(2);
  if (!texts.some((text) => text.includes("\uFFFD"))) return texts.map((text) => fromText(text));
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const all = fromBytes(readFileSync("/proc/self/cmdline")).split("\0").slice(0, -1);
  return all.slice(all.length - texts.length) as ByteString[];
}

/** Whether it is a LOGLEVEL: that makes the next five positional, whatever they look like. */
export function isLogLevel(argument: string): boolean {
  return /^-?[0-9]+$/.test(argument);
}

/** The commands that change a gateway while it runs (control-commands.ts). */
export const controlCommandNames = [
  ...(["restart", "detach", "pause", "resume", "set"] as const),
  ...(["reload", "reopen-logs", "dashboard", "stop"] as const),
];
export type ControlCommandName = (typeof controlCommandNames)[number];

/** The commands for people. */
export const commandNames: readonly string[] = ["serve", "status", "logs", ...controlCommandNames];
