/**
 * The files of the loaders as text, by kind and name. They become part of the binary when it is
 * built; this module is loaded with the first spawn.
 */
import type { LoaderType } from "./app-type.ts";
import { bundleOf, textOf, textsIn } from "./text-files.ts" with { type: "macro" };

export const loaderTexts: Readonly<Record<LoaderType, Readonly<Record<string, string>>>> = {
  bun: {
    "preload.js": bundleOf("loaders/bun/preload.ts", "bun"),
    "watchdog.c": textOf("loaders/bun/watchdog.c"),
  },
  node: { "preload.cjs": bundleOf("loaders/node/preload.cjs", "node") },
  rack: textsIn("loaders/rack"),
  wsgi: textsIn("loaders/wsgi"),
};
