/**
 * What the program calls itself: by its historic name, or by the short one beside it that packages
 * install, if it was called by that; and the version that this binary was built as.
 */
import { basename } from "node:path";

declare const POOL_SERVER_VERSION: string;

export const historicName = "ApplicationPoolServerExecutable";
export const shortName = "poolserver";

/** A parent may start it under any other name, and finds the historic one in messages. */
export function programName(): string {
  return basename(process.argv0) === shortName ? shortName : historicName;
}

export function version(): string {
  return typeof POOL_SERVER_VERSION === "string" ? POOL_SERVER_VERSION : "development";
}
