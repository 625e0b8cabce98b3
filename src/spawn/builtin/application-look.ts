/**
 * What a start needs to know of an application's files: what it is, which directory its root is at
 * this moment, and whom it runs as. All looks at those files are here and in what this calls; they
 * may take as long as the file system likes (files-aside.ts). Values in, values out.
 */
import { mayFilesHang } from "../../native/mounts.ts";
import { findUserById, type User } from "../../native/process.ts";
import type { AppRequest } from "../../wire/app-request.ts";
import { fromText, toText, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import type { InstanceOptions } from "../../wire/configure.ts";
import type { ProgramOptions } from "../../wire/program.ts";
import { defaultPath } from "../launch-environment.ts";
import { AppDirectory } from "./app-directory.ts";
import { findApplication, findIn, knownType, type LoaderType } from "./app-type.ts";
import { readEnvFile } from "./env-file.ts";
import { interpreterOf } from "./interpreter.ts";
import { loaders } from "./loaders.ts";
import { below, checkOwners, programsBelow } from "./ownership.ts";
import { chooseUser } from "./privileges.ts";

export interface LookRequest
  extends InstanceOptions, Pick<AppRequest, "root" | "appType" | "lowerPrivilege" | "lowestUser"> {
  readonly ruby: ByteString;
}

/** Of an application that can be started. */
export interface ApplicationFacts {
  readonly loader: LoaderType;
  /** Relative to the application root; empty: a module that lies elsewhere. */
  readonly startupFile: ByteString;
  /** As configured: `module:callable`. */
  readonly app?: string;
  /** What runs it; looked up on PATH if it has no slash. */
  readonly program: ByteString;
  /** Of its env_file. */
  readonly variables?: Readonly<Record<string, string>>;
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

/**
 * What would run an application; undefined: to look at its files could take long.
 * @throws Error.
 */
export function kindOf(app: AppRequest, options: InstanceOptions = {}): LoaderType | undefined {
  const type = knownType(app);
  if (type !== "auto") return type === "rails" ? "rack" : type;
  return mayFilesHang() ? undefined : findApplication(app.root, type, hasNode(), options).loader;
}

/** Never throws: a refusal is an answer. */
export function lookAtApplication(request: LookRequest): Looked {
  const seen: { -readonly [Key in keyof Looked]: Looked[Key] } = {};
  const { root, ruby, interpreter, envFile } = request;
  try {
    const type = knownType(request); // First: it is wrong wherever the root is.
    using directory = new AppDirectory(root);
    const found = findIn(directory, toText(root), type, hasNode(), request);
    const { loader, startupFile, owner, app } = found;
    if (loader !== "command") seen.startup = `${app ?? toText(startupFile)} (${loader})`;
    const user = chooseUser(request, owner);
    seen.user = user?.name ?? ownName();
    const usual = loaders[loader].runFrom(ruby, request);
    const program =
      interpreter === undefined
        ? usual.program
        : interpreterOf(directory, root, interpreter, loader);
    checkCwd(directory, request.cwd);
    const run = user === undefined || request.user !== undefined ? undefined : { user, owner };
    const files = [...usual.files.map(fromText), ...namedFiles(root, request)];
    if (run !== undefined) checkOwners(directory, { ...run, startupFile, files });
    const variables = envFile === undefined ? undefined : readEnvFile(directory, envFile);
    if (run !== undefined) {
      const path = pathOf(request.env) ?? pathOf(variables) ?? pathOf(process.env) ?? defaultPath;
      checkOwners(directory, { ...run, startupFile, files: programsBelow(root, program, path) });
    }
    seen.facts = {
      loader,
      startupFile,
      ...(app !== undefined && { app }),
      program,
      ...(variables && { variables }),
      identity: directory.identity,
      ...(user && { user }),
    };
  } catch (error) {
    seen.why = causeText(error);
  }
  return seen;
}

/**
 * What the configuration names of whoever's files: below the root, or anywhere if it says which
 * variables there are. Other places are the operator's affair.
 */
function namedFiles(root: ByteString, { interpreter, cwd, envFile }: ProgramOptions): ByteString[] {
  const places = [cwd, interpreter, interpreter && `${interpreter}/pyvenv.cfg`];
  return [
    ...(envFile === undefined ? [] : [fromText(envFile)]),
    ...places.flatMap((path) => (path === undefined ? [] : below(root, fromText(path)))),
  ];
}

/** @throws Error when nobody could enter it. */
function checkCwd(directory: AppDirectory, cwd: string | undefined): void {
  if (cwd === undefined) return;
  const { found } = directory.look(fromText(cwd));
  if (typeof found !== "string" && found.facts.isDirectory()) return;
  const why = typeof found === "string" ? found : "it is no directory";
  throw new Error(`its cwd '${cwd}' cannot be used: ${why}`);
}

export function hasNode(): boolean {
  return Bun.which("node") !== null;
}

function ownName(): string {
  const uid = process.geteuid?.() ?? 0;
  return findUserById(uid)?.name ?? String(uid);
}

/** The PATH of variables, if they have one. */
function pathOf(
  variables: Readonly<Record<string, string | undefined>> | undefined,
): ByteString | undefined {
  const path = variables?.["PATH"];
  return path === undefined ? undefined : fromText(path);
}
