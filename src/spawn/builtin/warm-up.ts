/**
 * What a first start needs, done before anybody waits for it: the function that starts programs is
 * compiled; of the kinds of application that are registered, the loader's files are written. Those
 * in Python are compiled too, since an instance that runs as its application's owner can keep
 * nothing in our directory, and would take 10 ms for it at each start. Last, where applications are
 * registered and none has been asked for, a start is rehearsed: code that runs for the first time
 * is slow. What servers that are gone have left is removed, too: nobody is to wait for that either.
 *
 * Nothing here must be done: a start does without what is missing, and says what is wrong.
 */
import { chmodSync } from "node:fs";

import type { Subprocess } from "bun";

import { mayFilesHang } from "../../native/mounts.ts";
import { PathWalk } from "../../native/path-walk.ts";
import { prepareStarts } from "../../native/start-program.ts";
import type { AppRequest } from "../../wire/app-request.ts";
import { ascii, fromText } from "../../wire/bytes.ts";
import type { InstanceOptions } from "../../wire/configure.ts";
import type { Rehearse } from "../spawner.ts";
import { noteChild } from "../our-children.ts";
import { kindOf } from "./application-look.ts";
import type { LoaderDirectory } from "./loader-files.ts";
import { loaders, type LoaderFolder } from "./loaders.ts";
import { loadTexts } from "./start-plan.ts";

/** By then a parent that waits for the server has it, and hardly any application was asked for. */
const afterMs = 100;

/** To look at what each application is takes a moment; of more, others are like these. */
const maxExpected = 32;

/** Takes 0.1 s as a rule. */
const maxCompileMs = 10_000;

/** In Node's place, for an application of nobody's: it is ready, and ends with its lifeline. */
const standIn = `#!/bin/sh
printf '\\000\\015ready\\0001\\000done\\000' >&4
read -r end <&4
`;

/** Read by others than who writes it; and not looked at anew, since the texts never change. */
const compileFiles = `
import os, py_compile, sys
os.umask(0o022)
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in sys.argv[1:]:
    py_compile.compile(name, invalidation_mode=mode)
`;

export class WarmUp {
  readonly #directory: LoaderDirectory;
  #expected: (readonly [AppRequest, InstanceOptions])[] = [];
  readonly #written = new Set<LoaderFolder>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #compiler: Subprocess | undefined;
  #hasSwept = false;
  #isClosed = false;
  /** What is done once, when an application is expected: see Spawner. */
  rehearse: Rehearse | undefined;

  constructor(directory: LoaderDirectory) {
    this.#directory = directory;
  }

  /** The application may be asked for. */
  expect(app: AppRequest, options: InstanceOptions): void {
    if (this.#expected.length < maxExpected) this.#expected.push([app, options]);
    this.begin();
  }

  /** Soon. */
  begin(): void {
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => void this.#do(), afterMs).unref();
  }

  /** Resolves when nothing of it is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#compiler?.kill("SIGKILL");
    await this.#compiler?.exited;
  }

  async #do(): Promise<void> {
    this.#timer = undefined;
    if (!this.#hasSwept) this.#directory.sweep();
    this.#hasSwept = true;
    prepareStarts();
    const folders = new Set(this.#expected.flatMap(foldersOf));
    this.#expected = [];
    const { loaderTexts } = await loadTexts();
    const compiled: string[] = [];
    for (const folder of folders) {
      await Bun.sleep(0); // Each takes some milliseconds, in which somebody may have asked.
      if (this.#isClosed) return;
      if (this.#written.has(folder)) continue;
      try {
        const path = this.#directory.loader(folder, loaderTexts[folder]);
        this.#written.add(folder);
        for (const name of Object.keys(loaderTexts[folder])) {
          if (name.endsWith(".py")) compiled.push(`${path}/${name}`);
        }
      } catch {
        return; // There is no room. A start will say so.
      }
    }
    if (compiled.length > 0) this.#compile(compiled);
    if (folders.size > 0) await this.#rehearse();
  }

  async #rehearse(): Promise<void> {
    const { rehearse } = this;
    this.rehearse = undefined;
    if (this.#isClosed) return;
    try {
      await rehearse?.(...this.#stage());
    } catch {
      // There is no room, or no descriptor.
    }
  }

  #stage(): [AppRequest, InstanceOptions] {
    const root = this.#directory.loader("rehearsal", { "app.js": "", node: standIn });
    const interpreter = `${root}/node`;
    chmodSync(interpreter, 0o555);
    const app: AppRequest = {
      root: fromText(root),
      lowerPrivilege: true,
      lowestUser: ascii("nobody"),
      environment: ascii("production"),
      spawnMethod: "conservative",
      appType: "node",
    };
    return [app, { interpreter }];
  }

  /** Python takes it from there whose version is the same, whoever it runs as. */
  #compile(files: readonly string[]): void {
    const python = Bun.which("python3", { PATH: process.env["PATH"] ?? "" });
    if (python === null || this.#compiler?.exitCode === null || !isOurs(python)) return;
    // Isolated from its user's modules, and from those of the working directory.
    this.#compiler = Bun.spawn([python, "-I", "-S", "-c", compileFiles, ...files], {
      cwd: "/",
      stdio: ["ignore", "ignore", "ignore"],
      timeout: maxCompileMs,
      killSignal: "SIGKILL",
    });
    noteChild(this.#compiler);
  }
}

function foldersOf([app, options]: readonly [AppRequest, InstanceOptions]): LoaderFolder[] {
  try {
    const kind = kindOf(app, options);
    return kind === undefined ? [] : [...loaders[kind].folders];
  } catch {
    return []; // There is no application.
  }
}

const othersWrite = 0o002;

/** Whether root may run a program: nobody else can have put it there. Others run what they like. */
function isOurs(path: string): boolean {
  if (process.geteuid?.() !== 0) return true;
  if (mayFilesHang()) return false;
  try {
    using walk = new PathWalk();
    walk.absolute(fromText(path));
    return walk.steps.every(
      ({ facts }) => facts.uid === 0 && (facts.isSymbolicLink() || !(facts.mode & othersWrite)),
    );
  } catch {
    return false;
  }
}
