/** What runs an application: what the configuration names, or the usual program of its kind. */
import { ascii, fromText, type ByteString } from "../../wire/bytes.ts";
import type { AppDirectory } from "./app-directory.ts";
import type { LoaderType } from "./app-type.ts";
import { loaders } from "./loaders.ts";

/**
 * The program that an `interpreter` names: a file, or a directory that has it in `bin`; a name that
 * is neither is looked up on PATH. @throws Error.
 */
export function interpreterOf(
  directory: AppDirectory,
  root: ByteString,
  name: string,
  loader: LoaderType,
): ByteString {
  const { interpreters } = loaders[loader];
  if (interpreters === undefined) {
    throw new Error(
      `its interpreter '${name}' cannot be used: type ${loader} runs on the server's own`,
    );
  }
  const path = fromText(name);
  const { found } = directory.look(path);
  const absolute = path.startsWith("/") ? path : (`${root}/${path}` as ByteString);
  if (typeof found === "string") {
    if (!name.includes("/")) return path;
    throw new Error(`its interpreter '${name}' cannot be used: ${found}`);
  }
  if (!found.facts.isDirectory()) return absolute;
  const isThere = (file: string) => typeof directory.look(ascii(file)).found !== "string";
  const program = interpreters.find((one) => isThere(`${path}/bin/${one}`));
  if (program !== undefined) return `${absolute}/bin/${program}` as ByteString;
  throw new Error(
    `its interpreter '${name}' cannot be used: the directory has no bin/${interpreters[0]}`,
  );
}
