/** The configuration file: TOML to settings, with the line where the syntax is wrong. */
import { causeText } from "../wire/cause.ts";
import type { Settings } from "./gateway-settings.ts";
import { readRegularFile } from "./read-file.ts";
import { ConfigurationError } from "./usage-error.ts";

const maxFileBytes = 1024 * 1024;
/** Above this, the search for the line of a mistake would take too long. */
const maxSearchBytes = 64 * 1024;

/** @throws ConfigurationError with the file, the line if it can be told, and the reason. */
export function readSettingsFile(path: string): Settings {
  const text = readText(path);
  try {
    return Bun.TOML.parse(text) as Settings;
  } catch (cause) {
    const why = reasonOf(cause);
    const line = lineOfMistake(text, why);
    const place = line === undefined ? path : `${path}:${line}`;
    throw new ConfigurationError([`${place}: ${why}`], { cause });
  }
}

function readText(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readRegularFile(path, maxFileBytes));
  } catch (cause) {
    const why =
      cause instanceof TypeError ? "it is not UTF-8" : `cannot be read: ${causeText(cause)}`;
    throw new ConfigurationError([`${path}: ${why}`], { cause });
  }
}

function reasonOf(error: unknown): string {
  const message = causeText(error);
  return message.replace(/^TOML Parse error: /, "");
}

/**
 * Bun's parser gives a reason, but no place. The mistake is in the first line with which the text
 * up to there fails for that reason, after the last one up to which it is right.
 */
function lineOfMistake(text: string, why: string): number | undefined {
  if (text.length > maxSearchBytes) return undefined;
  const reasons = text.split("\n").map((_, index, lines) => {
    try {
      Bun.TOML.parse(lines.slice(0, index + 1).join("\n"));
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  });
  const lastGood = reasons.lastIndexOf(undefined);
  const line = reasons.indexOf(why, lastGood + 1);
  return line < 0 ? undefined : line + 1;
}
