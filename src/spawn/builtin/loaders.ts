/**
 * The loaders: for each kind of application what runs it, and how. A loader's files are part of the
 * binary as text and written out for the instances to read; they import nothing of the server.
 *
 * A new kind of application is an entry here and a folder in loaders/.
 */
import { ascii, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import { NoApplicationError, type FoundApplication, type LoaderType } from "./app-type.ts";
import type { LoaderFiles } from "./loader-files.ts";

export interface LoaderCommand {
  /** argv[0] is the program; looked up on PATH if it has no slash. */
  readonly argv: readonly ByteString[];
  /** Variables of the loader's own, which it takes away before the application sees them. */
  readonly variables: readonly string[];
}

/** What a loader's command is made from. */
export interface LoaderStart {
  readonly app: FoundApplication;
  readonly root: ByteString;
  /** Where the loader's files lie. */
  readonly directory: string;
  /** Sessions at once that the instance is to serve. */
  readonly concurrency: number;
  /** The Ruby interpreter; looked up on PATH if it has no slash. */
  readonly ruby: ByteString;
  /** Not an instance but the process that loads the code and forks instances. */
  readonly isPreloader: boolean;
}

export interface Loader {
  readonly files: LoaderFiles;
  /** Sessions at once where nobody says otherwise. */
  readonly concurrency: number;
  /** Whether it can load the code once and fork instances (PROTOCOL section 10, `smart`). */
  readonly canPreload: boolean;
  /** @throws NoApplicationError: it cannot be run so. */
  command(start: LoaderStart): LoaderCommand;
}

/** The text of a loader's file, which the bundler puts into the binary. */
async function textOf(module: Promise<unknown>): Promise<string> {
  return ((await module) as { readonly default: string }).default;
}

const bun: Loader = {
  files: {
    "preload.ts": () => textOf(import("./loaders/bun/preload.ts", { with: { type: "text" } })),
    "application.ts": () =>
      textOf(import("./loaders/bun/application.ts", { with: { type: "text" } })),
    "answer.ts": () => textOf(import("./loaders/bun/answer.ts", { with: { type: "text" } })),
    "body.ts": () => textOf(import("./loaders/bun/body.ts", { with: { type: "text" } })),
    "clients.ts": () => textOf(import("./loaders/bun/clients.ts", { with: { type: "text" } })),
    "host.ts": () => textOf(import("./loaders/bun/host.ts", { with: { type: "text" } })),
    "known-bodies.ts": () =>
      textOf(import("./loaders/bun/known-bodies.ts", { with: { type: "text" } })),
    "request-body.ts": () =>
      textOf(import("./loaders/bun/request-body.ts", { with: { type: "text" } })),
    "request-head.ts": () =>
      textOf(import("./loaders/bun/request-head.ts", { with: { type: "text" } })),
    "response-head.ts": () =>
      textOf(import("./loaders/bun/response-head.ts", { with: { type: "text" } })),
    "session.ts": () => textOf(import("./loaders/bun/session.ts", { with: { type: "text" } })),
    "watchdog.ts": () => textOf(import("./loaders/bun/watchdog.ts", { with: { type: "text" } })),
    "watchdog.c": () => textOf(import("./loaders/bun/watchdog.c", { with: { type: "text" } })),
  },
  concurrency: 32,
  canPreload: false,
  command({ app: { startupFile }, root, directory, concurrency }) {
    if (/[?\\]/.test(root) || toText(root).includes("\ufffd")) {
      throw new NoApplicationError(
        `Bun cannot load a program from '${toText(root)}': ` +
          "the path has a question mark, a backslash, or bytes that are not UTF-8",
      );
    }
    // Neither the application's bunfig.toml nor its .env have a say in how it is run, and what is
    // not installed is not fetched from the network.
    const isolated = ["--config=/dev/null", "--no-env-file", "--no-install"];
    const options = [...isolated, "--preload", `${directory}/preload.ts`];
    const program = [process.execPath, ...options].map(fromText);
    return {
      argv: [...program, ascii(`./${startupFile}`)],
      variables: ["BUN_BE_BUN=1", `APPLICATION_POOL_CONCURRENCY=${concurrency}`],
    };
  },
};

const wsgi: Loader = {
  files: {
    "loader.py": () => textOf(import("./loaders/wsgi/loader.py", { with: { type: "text" } })),
    "answer.py": () => textOf(import("./loaders/wsgi/answer.py", { with: { type: "text" } })),
    "body.py": () => textOf(import("./loaders/wsgi/body.py", { with: { type: "text" } })),
    "environ.py": () => textOf(import("./loaders/wsgi/environ.py", { with: { type: "text" } })),
    "file_wrapper.py": () =>
      textOf(import("./loaders/wsgi/file_wrapper.py", { with: { type: "text" } })),
    "instance.py": () => textOf(import("./loaders/wsgi/instance.py", { with: { type: "text" } })),
    "lifeline.py": () => textOf(import("./loaders/wsgi/lifeline.py", { with: { type: "text" } })),
    "preloader.py": () => textOf(import("./loaders/wsgi/preloader.py", { with: { type: "text" } })),
    "session.py": () => textOf(import("./loaders/wsgi/session.py", { with: { type: "text" } })),
    "startup.py": () => textOf(import("./loaders/wsgi/startup.py", { with: { type: "text" } })),
  },
  concurrency: 1,
  canPreload: true,
  command({ app: { startupFile }, directory, isPreloader }) {
    const program = ["python3", `${directory}/loader.py`, isPreloader ? "preloader" : "instance"];
    return { argv: [...program.map(fromText), startupFile], variables: [] };
  },
};

const node: Loader = {
  files: {
    "preload.cjs": () => textOf(import("./loaders/node/preload.cjs", { with: { type: "text" } })),
    "lifeline.cjs": () => textOf(import("./loaders/node/lifeline.cjs", { with: { type: "text" } })),
    "host.cjs": () => textOf(import("./loaders/node/host.cjs", { with: { type: "text" } })),
    "listen.cjs": () => textOf(import("./loaders/node/listen.cjs", { with: { type: "text" } })),
    "exported.cjs": () => textOf(import("./loaders/node/exported.cjs", { with: { type: "text" } })),
    "session.cjs": () => textOf(import("./loaders/node/session.cjs", { with: { type: "text" } })),
    "request-head.cjs": () =>
      textOf(import("./loaders/node/request-head.cjs", { with: { type: "text" } })),
    "request.cjs": () => textOf(import("./loaders/node/request.cjs", { with: { type: "text" } })),
    "body.cjs": () => textOf(import("./loaders/node/body.cjs", { with: { type: "text" } })),
    "answer.cjs": () => textOf(import("./loaders/node/answer.cjs", { with: { type: "text" } })),
    "watchdog.cjs": () => textOf(import("./loaders/node/watchdog.cjs", { with: { type: "text" } })),
  },
  concurrency: 32,
  canPreload: false,
  command({ app: { startupFile }, directory, concurrency }) {
    return {
      argv: ["node", "--require", `${directory}/preload.cjs`, `./${startupFile}`].map(ascii),
      variables: [`APPLICATION_POOL_CONCURRENCY=${concurrency}`],
    };
  },
};

const rack: Loader = {
  files: {
    "application.rb": () =>
      textOf(import("./loaders/rack/application.rb", { with: { type: "text" } })),
    "body.rb": () => textOf(import("./loaders/rack/body.rb", { with: { type: "text" } })),
    "body_writer.rb": () =>
      textOf(import("./loaders/rack/body_writer.rb", { with: { type: "text" } })),
    "connection.rb": () =>
      textOf(import("./loaders/rack/connection.rb", { with: { type: "text" } })),
    "dechunker.rb": () => textOf(import("./loaders/rack/dechunker.rb", { with: { type: "text" } })),
    "failure.rb": () => textOf(import("./loaders/rack/failure.rb", { with: { type: "text" } })),
    "input.rb": () => textOf(import("./loaders/rack/input.rb", { with: { type: "text" } })),
    "instance.rb": () => textOf(import("./loaders/rack/instance.rb", { with: { type: "text" } })),
    "lifeline.rb": () => textOf(import("./loaders/rack/lifeline.rb", { with: { type: "text" } })),
    "loader.rb": () => textOf(import("./loaders/rack/loader.rb", { with: { type: "text" } })),
    "preloader.rb": () => textOf(import("./loaders/rack/preloader.rb", { with: { type: "text" } })),
    "request.rb": () => textOf(import("./loaders/rack/request.rb", { with: { type: "text" } })),
    "response.rb": () => textOf(import("./loaders/rack/response.rb", { with: { type: "text" } })),
    "response_head.rb": () =>
      textOf(import("./loaders/rack/response_head.rb", { with: { type: "text" } })),
    "session.rb": () => textOf(import("./loaders/rack/session.rb", { with: { type: "text" } })),
  },
  concurrency: 1,
  canPreload: true,
  command({ app: { startupFile }, directory, concurrency, ruby, isPreloader }) {
    const loader = [`${directory}/loader.rb`, isPreloader ? "preloader" : "instance"].map(fromText);
    return { argv: [ruby, ...loader, startupFile, ascii(String(concurrency))], variables: [] };
  },
};

/** The kinds of application that this build can start. */
export const loaders: Readonly<Record<LoaderType, Loader>> = { bun, node, rack, wsgi };

/** Sessions at once that an application of this kind will probably serve. */
export function usualConcurrency(type: LoaderType): number {
  return loaders[type].concurrency;
}
