/**
 * The files of the loaders as text, by kind and name. They become part of the binary when it is
 * built; this module is loaded with the first spawn.
 */
import type { LoaderType } from "./app-type.ts";
import type { SharedFolder } from "./loaders.ts";
import { textsIn } from "./text-files.ts" with { type: "macro" };

export const loaderTexts: Readonly<
  Record<LoaderType | SharedFolder, Readonly<Record<string, string>>>
> = {
  bun: textsIn("loaders/bun"),
  javascript: textsIn("loaders/javascript"),
  node: textsIn("loaders/node"),
  rack: textsIn("loaders/rack"),
  wsgi: textsIn("loaders/wsgi"),
};
