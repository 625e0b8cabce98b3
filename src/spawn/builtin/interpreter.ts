/** What runs an application: what the configuration names, or the usual program of its kind. */
import { fromText, type ByteString } from "../../wire/bytes.ts";
import { NoApplicationError, type AppDirectory } from "./app-directory.ts";
import type { LoaderType } from "./app-type.ts";

const python = ["python3", "python"];

/** Names of the program in the `bin` of a directory. */
const inBin: Readonly<Record<LoaderType, readonly string[]>> = {
  rack: ["ruby"],
  wsgi: python,
  asgi: python,
  python,
  node: ["node"],
  bun: [],
  command: [],
};

/**
 * The program that an `interpreter` names: a file, or a directory that has it in `bin`; a name that
 * is neither is looked up on PATH. @throws NoApplicationError.
 */
export function interpreterOf(
  directory: AppDirectory,
  root: ByteString,
  name: string,
  loader: LoaderType,
): ByteString {
  const programs = inBin[loader];
  if (programs.length === 0) {
    throw new NoApplicationError(
      `its interpreter '${name}' cannot be used: type ${loader} runs on the server's own`,
    );
  }
  const path = fromText(name);
  const { found } = directory.look(path);
  const absolute = path.startsWith("/") ? path : (`${root}/${path}` as ByteString);
  if (typeof found === "string") {
    if (!name.includes("/")) return path;
    throw new NoApplicationError(`its interpreter '${name}' cannot be used: ${found}`);
  }
  if (!found.facts.isDirectory()) return absolute;
  const program = programs.find((one) => isThere(directory, `${path}/bin/${one}` as ByteString));
  if (program !== undefined) return `${absolute}/bin/${program}` as ByteString;
  throw new NoApplicationError(
    `its interpreter '${name}' cannot be used: the directory has no bin/${programs[0]}`,
  );
}

function isThere(directory: AppDirectory, path: ByteString): boolean {
  return typeof directory.look(path).found !== "string";
}
