/**
 * What a real application is to scripts/real-apps.ts: what it is installed from, what its
 * configuration says, and how a visitor finds that it works. The server runs each of them by its
 * configuration alone: no file is written for the server's sake.
 */
import type { Visitor } from "./visitor.ts";

export interface RealApp {
  /** As people call it. */
  readonly name: string;
  /** What kind the server takes it for: a `type` of its configuration. */
  readonly type: "rack" | "wsgi" | "asgi" | "node" | "bun" | "command" | "static";
  /** Debian's packages that it is made of. Its version is the first one's. */
  readonly debian?: readonly string[];
  /** Packages of npm with their exact versions. Without `debian` its version is the first one's. */
  readonly npm?: Readonly<Record<string, string>>;
  /** Versions of packages that these would ask for, if they could be had. */
  readonly overrides?: Readonly<Record<string, string>>;
  /** What a user of the program writes: code for a framework, configuration for a program. */
  readonly files?: Readonly<Record<string, string>>;
  /** Commands of a shell that make the application in its directory, once all is installed. */
  readonly build?: string;
  /** Directories and files of its own that it writes to. */
  readonly writable?: readonly string[];
  /** Lines of `[[apps]]`. */
  readonly settings?: readonly string[];
  /** Lines of `[apps.env]`. */
  readonly variables?: readonly string[];
  /** What `drive` does, in a few words. */
  readonly tried: string;
  /** Whether it costs no more than a few seconds, with what scripts/test installs. */
  readonly isQuick?: boolean;
  /** Visits it. @throws Error that says what does not work. */
  readonly drive: (visitor: Visitor) => Promise<void>;
}

/** Where the application lies, in the texts of a table; in its place comes the real directory. */
export const ROOT = "/srv/app";
