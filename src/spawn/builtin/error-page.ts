/**
 * What a failed start is to whoever asked for it: the cause, advice, and a page for people: what
 * failed, what was run and as whom, and what it wrote. Everything in it is escaped; it says nothing
 * of the environment's values.
 */
import { toText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { SpawnFailedError, type SpawnRequest } from "../spawner.ts";

export interface FailedStart {
  /** The application root, as text. */
  readonly root: string;
  /** One sentence. */
  readonly message: string;
  /** What the loader said: the error with its stack. */
  readonly detail?: string;
  /** Type and startup file, once they are known. */
  readonly startup?: string;
  /** The user it ran as. */
  readonly user?: string;
  /** What was run. */
  readonly command?: string;
  readonly environment?: string;
  /** The end of its stdout and stderr, as text. */
  readonly output?: string;
}

const style =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem}" +
  "h1{font-size:1.4rem}pre{background:#f4f4f4;padding:1rem;overflow:auto;white-space:pre-wrap}" +
  "dt{font-weight:600}dd{margin:0 0 .5rem}";

/** The page, as bytes of UTF-8. */
export function renderErrorPage(failed: FailedStart): Uint8Array {
  const facts = [
    ["Application root", failed.root],
    ["Startup file", failed.startup],
    ["Command", failed.command],
    ["User", failed.user],
    ["Environment", failed.environment],
  ]
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([name, value]) => `<dt>${name}</dt><dd>${Bun.escapeHTML(value ?? "")}</dd>`);
  const page = [
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
    `<title>The application could not be started</title><style>${style}</style></head><body>`,
    "<h1>The application could not be started</h1>",
    `<p>${Bun.escapeHTML(failed.message)}</p>`,
    section("Error", failed.detail, failed.message),
    `<dl>${facts.join("\n")}</dl>`,
    section("Last output", failed.output, failed.detail ?? failed.message),
    "</body></html>\n",
  ];
  return Buffer.from(page.filter((part) => part !== "").join("\n"));
}

/** Left out when it is empty, or says no more than what was said already. */
function section(title: string, text: string | undefined, said: string): string {
  if (text === undefined || ["", said.trim()].includes(text.trim())) return "";
  return `<h2>${title}</h2>\n<pre>${Bun.escapeHTML(text)}</pre>`;
}

export function spawnError(
  request: SpawnRequest,
  progress: Partial<FailedStart>,
  cause: unknown,
): SpawnFailedError {
  const message = causeText(cause) + adviceOn(causeText(cause), progress.user);
  const page = renderErrorPage({
    root: toText(request.root),
    environment: toText(request.environment),
    ...progress,
    message,
  });
  return new SpawnFailedError(message, page, { cause });
}

/** How Ruby, Python, Node, Bun and we ourselves say that a file may not be used. */
const denied = /\bEACCES\b|^PermissionError: \[Errno 13\]/;

/** Whoever has started the server may use the file; the application is somebody else. */
function adviceOn(message: string, user: string | undefined): string {
  const { VIRTUAL_ENV: virtualenv } = process.env;
  if (user !== undefined && denied.test(message)) {
    return `; it runs as ${user}: let that user have it (chmod, chown), or set another user`;
  }
  if (virtualenv === undefined || !message.startsWith("ModuleNotFoundError")) return "";
  return `; '${virtualenv}' is the server's, not its own: set interpreter if it is to have that`;
}
