/** What a failed start is to whoever asked for it: the cause, advice, and a page for people. */
import { toText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { SpawnFailedError, type SpawnRequest } from "../spawner.ts";
import { renderErrorPage } from "./error-page.ts";
import type { Progress } from "./start-plan.ts";

export function spawnError(
  request: SpawnRequest,
  progress: Progress,
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
