/**
 * The loaders: for each kind of application what runs it, and how. A loader's files are part of the
 * binary as text (loader-texts.ts) and written out for the instances to read; they import nothing
 * of the server.
 *
 * A new kind of application is an entry here, one in loader-texts.ts, and a folder in loaders/.
 */
import { allocatorVariables } from "../../native/allocator.ts";
import { ownProgram } from "../../native/process.ts";
import { ascii, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import type { InstanceOptions } from "../../wire/configure.ts";
import { MAX_CONCURRENCY } from "../../wire/instance-protocol.ts";
import type { SpawnRequest, UsualInstances } from "../spawner.ts";
import type { ProgramOptions } from "../../wire/program.ts";
import type { LoaderType } from "./app-type.ts";
import type { ApplicationFacts } from "./application-look.ts";
import { filled, type Way } from "./program/way.ts";

interface LoaderCommand {
  /** argv[0] is the program; looked up on PATH if it has no slash. */
  readonly argv: readonly ByteString[];
  /** As in LaunchPlan. */
  readonly isOwnProgram?: boolean;
  /** Variables of the loader's own, which it takes away before the application sees them. */
  readonly variables: readonly string[];
}

/** What a loader's command is made from. */
export interface LoaderStart {
  readonly app: ApplicationFacts;
  readonly request: SpawnRequest;
  /** Where the first of the loader's folders lies; the others are beside it. */
  readonly directory: string;
  /** Not an instance but the process that loads the code and forks instances. */
  readonly isPreloader: boolean;
  /** Of type `command`: how it is reached. */
  readonly way: Way | undefined;
}

/** A folder of `loaders`, and of the directory that they are written to. */
export type LoaderFolder = "asgi" | "bun" | "node" | "python" | "rack" | "wsgi";

export interface Loader {
  /** What has to be there to run it; the program that is started lies in the first. */
  readonly folders: readonly LoaderFolder[];
  /** What holds where nobody says otherwise. */
  readonly usual: UsualInstances;
  /** Whether each session has a thread: then `threads` says how many, and `concurrency` nothing. */
  readonly hasThreads?: boolean;
  /** What it runs may be of one kind or another, which its first instance finds out. */
  readonly isEither?: boolean;
  /** Its program in the `bin` of a directory (interpreter.ts); absent: the server has it. */
  readonly interpreters?: readonly string[];
  /** Whether it can load the code once and fork instances (PROTOCOL section 10, `smart`). */
  readonly canPreload: boolean;
  /**
   * What decides, beside the startup file, which code is run, unless the configuration says so: the
   * program, as argv[0] is; files relative to the root.
   */
  runFrom(
    ruby: ByteString,
    options: ProgramOptions,
  ): { readonly program: ByteString; readonly files: readonly string[] };
  /** @throws Error: it cannot be run so. */
  command(start: LoaderStart): LoaderCommand;
}

/** Its startup file as the program finds it: from the root, or from anywhere. */
function startupPath({ app: { startupFile }, request: { root, cwd } }: LoaderStart): string {
  return cwd === undefined ? `./${startupFile}` : `${root}/${startupFile}`;
}

function argsOf({ request: { args = [] } }: LoaderStart): ByteString[] {
  return args.map((text) => fromText(text));
}

/**
 * What a loader in Ruby or Python is told: `loader MODE STARTUP_FILE [name=value ...] [-- ARGS]`.
 * The file is below the root. @param more settings, beside the root if that is not the working
 * directory.
 */
function loaderArguments(start: LoaderStart, file: string, more: string[]): ByteString[] {
  const { app, request, directory, isPreloader } = start;
  const loader = [`${directory}/${file}`, isPreloader ? "preloader" : "instance"].map(fromText);
  const settings = more.map(fromText);
  if (request.cwd !== undefined) settings.push(ascii(`root=${request.root}`));
  const args = argsOf(start);
  const end = args.length === 0 ? [] : [ascii("--"), ...args];
  return [...loader, app.startupFile, ...settings, ...end];
}

const javaScriptFiles = ["package.json", "node_modules"];

/**
 * A program that does many things at once keeps its state in one process: a second one, begun
 * because many ask at a time, would know nothing of the first one's.
 */
const keepsState: UsualInstances = { concurrency: MAX_CONCURRENCY, instances: 1 };
const oneAtATime: UsualInstances = { concurrency: 1, instances: 0 };
/** Until the first instance has said what it is. */
const eitherWay: UsualInstances = { concurrency: 1, instances: 1 };

const bun: Loader = {
  folders: ["bun"],
  usual: keepsState,
  canPreload: false,
  runFrom: () => ({
    program: fromText(ownProgram),
    files: [...javaScriptFiles, "tsconfig.json", "jsconfig.json"],
  }),
  command(start) {
    const { variables } = start.app;
    const { root, env, concurrency = MAX_CONCURRENCY } = start.request;
    if (/[?\\]/.test(root) || toText(root).includes("\ufffd")) {
      throw new Error(
        `Bun cannot load a program from '${toText(root)}': ` +
          "the path has a question mark, a backslash, or bytes that are not UTF-8",
      );
    }
    // Neither the application's bunfig.toml nor its .env have a say in how it is run, and what is
    // not installed is not fetched from the network.
    const isolated = ["--config=/dev/null", "--no-env-file", "--no-install"];
    const options = [...isolated, "--preload", `${start.directory}/preload.js`];
    const program = [process.execPath, ...options].map(fromText);
    const allocator = allocatorVariables(process.env, variables, env);
    return {
      argv: [...program, ascii(startupPath(start)), ...argsOf(start)],
      isOwnProgram: true,
      variables: [
        "BUN_BE_BUN=1",
        `APPLICATION_POOL_CONCURRENCY=${concurrency}`,
        // Or its C compiler (watchdog.ts) leaves headers in the directory for temporary files.
        "BUN_TMPDIR=/proc/self/fdinfo",
        ...Object.entries(allocator).map(([name, value]) => `${name}=${value}`),
      ],
    };
  },
};

const virtualenvs = [".venv", "venv"];

/** @param takes what the application is called with; `either`: what it is seen to take. */
function python(takes: "wsgi" | "asgi" | "either", usual: UsualInstances): Loader {
  return {
    folders: takes === "either" ? ["python", "wsgi", "asgi"] : ["python", takes],
    usual,
    hasThreads: takes === "wsgi",
    isEither: takes === "either",
    interpreters: ["python3", "python"],
    canPreload: true,
    runFrom: () => ({
      program: ascii("python3"),
      files: virtualenvs.flatMap((name) => [`${name}/pyvenv.cfg`, `${name}/bin/python3`]),
    }),
    command(start) {
      const { app, request } = start;
      const { interpreter, concurrency = MAX_CONCURRENCY, threads = 1 } = request;
      const settings = [
        takes,
        `concurrency=${concurrency}`,
        `threads=${threads}`,
        ...(app.app === undefined ? [] : [`app=${app.app}`]),
        ...(interpreter === undefined ? [] : ["interpreter=chosen"]),
      ];
      return {
        argv: [app.program, ...loaderArguments(start, "loader.py", settings)],
        variables: [],
      };
    },
  };
}

const node: Loader = {
  folders: ["node"],
  usual: keepsState,
  interpreters: ["node"],
  canPreload: false,
  runFrom: () => ({ program: ascii("node"), files: javaScriptFiles }),
  command(start) {
    const { app, directory, request } = start;
    const { concurrency = MAX_CONCURRENCY } = request;
    const preload = ["--require", `${directory}/preload.cjs`].map(fromText);
    return {
      argv: [app.program, ...preload, ascii(startupPath(start)), ...argsOf(start)],
      variables: [`APPLICATION_POOL_CONCURRENCY=${concurrency}`],
    };
  },
};

const rack: Loader = {
  folders: ["rack"],
  usual: oneAtATime,
  hasThreads: true,
  interpreters: ["ruby"],
  canPreload: true,
  runFrom: (ruby) => ({
    program: ruby,
    files: ["Gemfile", "Gemfile.lock", "gems.rb", "gems.locked", ".bundle/config"],
  }),
  command(start) {
    const { app, request } = start;
    const { threads = 1 } = request;
    const words = loaderArguments(start, "loader.rb", [`threads=${threads}`]);
    return { argv: [app.program, ...words], variables: [] };
  },
};

/** A program that knows nothing of us (program/): it needs no loader. */
const program: Loader = {
  folders: [],
  usual: keepsState,
  canPreload: false,
  // A word that leads to no file below the root says nothing to the look.
  runFrom: (_ruby, { command: [name = "", ...words] = [] }) => ({
    program: fromText(name),
    files: words.filter((word) => !word.startsWith("/") && !word.split("/").includes("..")),
  }),
  command(start) {
    const { way, request } = start;
    const { command: words = [] } = request;
    if (way === undefined || words.length === 0) {
      throw new Error("it is of type command, and no command is configured");
    }
    const argv = words.map((word) => fromText(filled(word, way)));
    return { argv: [...argv, ...argsOf(start)], variables: way.variables };
  },
};

/** The kinds of application that this build can start. */
export const loaders: Readonly<Record<LoaderType, Loader>> = {
  rack,
  wsgi: python("wsgi", oneAtATime),
  asgi: python("asgi", keepsState),
  python: python("either", eitherWay),
  node,
  bun,
  command: program,
};

/** What the pool may expect of applications of a kind, as they are configured. */
export function usualOf(
  type: LoaderType,
  { threads, concurrency }: Pick<InstanceOptions, "threads" | "concurrency">,
): UsualInstances {
  const { usual, hasThreads } = loaders[type];
  return {
    ...usual,
    concurrency: (hasThreads === true ? threads : concurrency) ?? usual.concurrency,
  };
}
