/**
 * The files of the loaders as text, by folder and name. They become part of the binary when it is
 * built; this module is loaded with the first spawn.
 */
import type { LoaderFolder } from "./loaders.ts";
import { bundleOf, textOf, textsIn } from "./text-files.ts" with { type: "macro" };

export const loaderTexts: Readonly<Record<LoaderFolder, Readonly<Record<string, string>>>> = {
  asgi: textsIn("loaders/asgi"),
  bun: {
    "preload.js": bundleOf("loaders/bun/preload.ts", "bun"),
    "watchdog.c": textOf("loaders/bun/watchdog.c"),
  },
  node: { "preload.cjs": bundleOf("loaders/node/preload.cjs", "node") },
  python: textsIn("loaders/python"),
  rack: textsIn("loaders/rack"),
  wsgi: textsIn("loaders/wsgi"),
};
