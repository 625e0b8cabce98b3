/**
 * What a start needs to know of an application's files: what it is, which directory its root is at
 * this moment, and whom it runs as. All looks at those files are here and in what this calls; they
 * may take as long as the file system likes (file-aside.ts). Values in, values out.
 */
import { findUserById, type User } from "../../native/process.ts";
import type { AppRequest, AppType } from "../../wire/app-request.ts";
import { ascii, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { AppDirectory } from "./app-directory.ts";
import { findIn, type LoaderType } from "./app-type.ts";
import { loaders } from "./loaders.ts";
import { checkOwners, programsBelow } from "./ownership.ts";
import { chooseUser } from "./privileges.ts";

export interface LookRequest extends Pick<AppRequest, "root" | "lowerPrivilege" | "lowestUser"> {
  readonly appType: AppType;
  /** Whom the configuration wants it to run as, whoever owns its files. */
  readonly user?: ByteString;
  /** PATH of the application. */
  readonly path: ByteString;
  readonly ruby: ByteString;
}

/** Of an application that can be started. */
export interface ApplicationFacts {
  readonly loader: LoaderType;
  /** Relative to the application root. */
  readonly startupFile: ByteString;
  /** Of the root directory (app-directory.ts). */
  readonly identity: string;
  /** The user to become; absent: nobody else. */
  readonly user?: User;
}

/** As much as was found out; `facts` or `why` not. */
export interface Looked {
  readonly startup?: string;
  readonly user?: string;
  readonly facts?: ApplicationFacts;
  readonly why?: string;
}

/** Never throws: a refusal is an answer. */
export function lookAtApplication(request: LookRequest): Looked {
  const seen: { -readonly [Key in keyof Looked]: Looked[Key] } = {};
  try {
    using directory = new AppDirectory(request.root);
    const app = findIn(directory, toText(request.root), request.appType, hasNode());
    const { loader, startupFile, owner } = app;
    seen.startup = `${toText(startupFile)} (${loader})`;
    const user = chooseUser(request, owner);
    seen.user = user?.name ?? ownName();
    if (user !== undefined && request.user === undefined) {
      const { program, files } = loaders[loader].runFrom(request.ruby);
      const programs = programsBelow(request.root, program, request.path);
      const all = [...files.map(fromText), ...programs];
      checkOwners(directory, { user, owner, startupFile, files: all });
    }
    const { identity } = directory;
    seen.facts = { loader, startupFile, identity, ...(user && { user }) };
  } catch (error) {
    seen.why = causeText(error);
  }
  return seen;
}

export function hasNode(): boolean {
  return Bun.which("node") !== null;
}

function ownName(): string {
  const uid = process.geteuid?.() ?? 0;
  return findUserById(uid)?.name ?? String(uid);
}

/** Where execvp(3) looks, given the variables that the configuration adds. */
export function pathOf(variables: Readonly<Record<string, string>> | undefined): ByteString {
  const path = variables?.["PATH"] ?? process.env["PATH"];
  return path === undefined ? ascii("/bin:/usr/bin") : fromText(path);
}
