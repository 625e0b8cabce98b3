/**
 * What files answer to a request: for an application those that are there, the rest is its own; for
 * one that is only files (type `static`) everything, as web servers do it: a directory's path ends
 * in a slash, `404.html` is the page for what there is not, other methods than GET and HEAD are
 * refused.
 */
import { type Refusal, rule } from "../../http/refusals.ts";
import { fromText, toText } from "../../wire/bytes.ts";
import { decodePath } from "../../wire/cgi.ts";
import type { Route } from "../policy/router.ts";
import type { FileAnswer, FileRequest, StaticFiles } from "./static-files.ts";

const notThere = rule(404, "there is no such file");
const onlyRead = rule(405, "only GET and HEAD are possible here", "", "Allow: GET, HEAD\r\n");
const notNow = rule(503, "the files do not answer now", "", "Retry-After: 5\r\n");

/** The page of a site for what there is not. */
const missingPage = "/404.html";

/**
 * @param isReady whether files can be asked without waiting. @param target path and query as sent.
 * @returns undefined: the application is to be asked. @throws as StaticFiles.answer.
 */
export function answerOfFiles(
  files: StaticFiles,
  route: Route,
  request: FileRequest & { readonly target: string },
  isReady: boolean,
  nowMs: number,
): FileAnswer | Refusal | undefined {
  const isRead = request.method === "GET" || request.method === "HEAD";
  const isSite = route.app.type === "static";
  if (!isRead) return isSite ? onlyRead : undefined;
  if (!isReady) return isSite ? notNow : undefined;
  const isBare = isSite && isPlace(route);
  const found = isBare ? undefined : files.answer(route.app, request, route.below, nowMs);
  if (found !== undefined || !isSite) return found;
  return slashed(files, route, request, nowMs) ?? missing(files, route, request, nowMs);
}

/** Whether the path is one of the whole place, and lacks the slash at its end. */
function isPlace({ app, below }: Route): boolean {
  const path = toText(decodePath(fromText(below)));
  return below === "" || (path !== "/" && app.files.some((place) => place.path === path));
}

/**
 * A directory that has an index is named with a slash at its end: what the page links to needs it.
 */
function slashed(
  files: StaticFiles,
  { app, below }: Route,
  request: FileRequest & { readonly target: string },
  nowMs: number,
): Refusal | undefined {
  if (below.endsWith("/")) return undefined;
  const index = files.answer(app, unconditional("HEAD", request), `${below}/`, nowMs);
  if (index === undefined) return undefined;
  const { target } = request;
  const end = target.includes("?") ? target.indexOf("?") : target.length;
  const location = `${target.slice(0, end)}/${target.slice(end)}`;
  return rule(301, `this is served at ${location}`, "", `Location: ${location}\r\n`);
}

function missing(
  files: StaticFiles,
  { app }: Route,
  request: FileRequest,
  nowMs: number,
): FileAnswer | Refusal {
  const page = files.answer(app, unconditional(request.method, request), missingPage, nowMs);
  return page === undefined ? notThere : { ...page, status: 404 };
}

/** The same of a page that was not asked for: conditions and ranges are about another. */
function unconditional(method: string, { headers }: FileRequest): FileRequest {
  const codings = {
    get: (name: string) => (name === "accept-encoding" ? headers.get(name) : null),
  };
  return { method, headers: codings };
}
