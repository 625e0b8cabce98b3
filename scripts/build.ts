/**
 * Builds the server: one executable that needs nothing but the C library of its system.
 *
 *     bun scripts/build.ts [--target linux-x64|linux-arm64] [--outfile PATH]
 *
 * Every switch of the compiler is spelled out below, with its reason, so that no default of another
 * Bun can change what we ship. The file is built in a directory of its own and then renamed: a
 * running server keeps the file it was started from, and nobody ever sees half of one. Building for
 * the other target takes that target's Bun, which the compiler fetches once from the package
 * registry (or finds in its cache).
 */

import { chmodSync, constants, copyFileSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json";
import { showUsage } from "./usage.ts";
import { readVersion } from "./version.ts";
import { workDirectory } from "./work-directory.ts";

const ROOT = resolve(import.meta.dir, "..");
const NAME = "ApplicationPoolServerExecutable";
const TARGETS = ["linux-x64", "linux-arm64"] as const;
type Target = (typeof TARGETS)[number];

interface Options {
  readonly target: Target;
  readonly outfile: string;
}

function nativeTarget(): Target {
  const name = `${process.platform}-${process.arch}`;
  const target = TARGETS.find((known) => known === name);
  if (target === undefined) {
    throw new Error(`build for ${name}: the server runs on ${TARGETS.join(" and ")} only`);
  }
  return target;
}

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      target: { type: "string" },
      outfile: { type: "string" },
    },
  });
  const wanted = values.target;
  const target = wanted === undefined ? nativeTarget() : TARGETS.find((known) => known === wanted);
  if (target === undefined) {
    throw new Error(`--target ${wanted}: not one of ${TARGETS.join(", ")}`);
  }
  const suffix = wanted === undefined ? "" : `-${target}`;
  const outfile = resolve(values.outfile ?? join(ROOT, "dist", NAME + suffix));
  return { target, outfile };
}

/** main, and every Worker: a Worker runs from a file of its own, which must be an entry point. */
function entryPoints(): string[] {
  const workers = [...new Bun.Glob("src/**/*-worker.ts").scanSync(ROOT)].toSorted();
  return ["src/main.ts", ...workers].map((path) => join(ROOT, path));
}

async function compile(options: Options, outfile: string): Promise<void> {
  const result = await Bun.build({
    entrypoints: entryPoints(),
    // The layout inside the executable mirrors src, so that a Worker's relative URL resolves.
    root: join(ROOT, "src"),
    target: "bun",
    format: "esm",
    // Parsed at build time: halves the time from exec to the first connection (18 to 9.5 ms).
    bytecode: true,
    // Small names made no measurable difference to start-up, memory or speed; stack traces in a
    // log that name functions and lines of src do make one.
    minify: false,
    sourcemap: "inline",
    packages: "bundle",
    // What a command does not need is not loaded: a third of the time to the first connection.
    splitting: true,
    env: "disable",
    define: {
      "process.env.NODE_ENV": JSON.stringify("production"),
      POOL_SERVER_VERSION: JSON.stringify(readVersion().text),
    },
    compile: {
      target: `bun-${options.target}`,
      outfile,
      execArgv: [],
      // Code that runs once is not worth compiling: 1 ms off the start, nothing lost afterwards.
      jitPolicy: 2,
      // A daemon must not take orders from files that happen to lie in its working directory.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
    },
    throw: false,
  });
  if (!result.success) {
    throw new Error(`compile src/main.ts:\n${result.logs.map(String).join("\n")}`);
  }
}

/** Replaces `outfile` at once. It may be on another file system, where renaming needs a copy. */
function install(built: string, outfile: string): void {
  const beside = `${outfile}.${process.pid}`;
  mkdirSync(dirname(outfile), { recursive: true });
  try {
    copyFileSync(built, beside, constants.COPYFILE_FICLONE);
    renameSync(beside, outfile);
  } finally {
    rmSync(beside, { force: true });
  }
}

async function main(): Promise<void> {
  showUsage(Bun.argv, import.meta.path);
  const pinned = manifest.devDependencies.bun;
  if (Bun.version !== pinned) {
    throw new Error(`build with Bun ${Bun.version}: this tree is built with ${pinned} only`);
  }
  const options = readOptions(Bun.argv.slice(2));
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  const workshop = workDirectory(".build-", undefined, join(ROOT, "dist"));
  try {
    // The compiler leaves its intermediate files in the working directory, and the way from there
    // to src and the name of the file become part of the executable: the same in every tree.
    process.chdir(workshop);
    const built = join(workshop, NAME);
    await compile(options, built);
    chmodSync(built, 0o755);
    install(built, options.outfile);
  } finally {
    process.chdir(ROOT);
    rmSync(workshop, { recursive: true, force: true });
  }
  const megabytes = (Bun.file(options.outfile).size / 1e6).toFixed(1);
  console.log(`built ${options.outfile} for ${options.target}, ${megabytes} MB`);
}

try {
  await main();
} catch (error) {
  console.error(`build: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
