// scripts/setup in the situations that need no network: what it says when nothing can install, and
// what it does with packages whose install scripts were refused. scripts/test runs the rest of it.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import manifest from "../../package.json";
import { ROOT } from "./tree.ts";

const TOOLS = ["cat", "dirname", "find", "head", "ln", "mkdir", "sed", "sh"];
const PINNED = manifest.devDependencies.bun;

let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pool-setup-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The files of the tree that setup reads, without packages, and a PATH of bare necessities. */
class Checkout {
  readonly root: string;
  readonly #path: string;

  constructor(name: string) {
    this.root = join(directory, name, "a checkout");
    this.#path = join(directory, name, "bin");
    mkdirSync(this.#path, { recursive: true });
    for (const tool of TOOLS) symlinkSync(Bun.which(tool) ?? "", join(this.#path, tool));
    for (const file of ["package.json", "bun.lock", "bunfig.toml", "scripts/setup"]) {
      this.write(file, readFileSync(join(ROOT, file), "utf8"));
    }
    this.write("src/main.ts", "");
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  /** Puts a program on the PATH that setup sees. */
  command(name: string, script: string): void {
    writeFileSync(join(this.#path, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.#path, name), 0o755);
  }

  setup(): { status: number; errors: string } {
    const { exitCode, stderr } = Bun.spawnSync(["sh", join(this.root, "scripts/setup")], {
      cwd: "/",
      env: { PATH: this.#path },
      stdin: "ignore",
    });
    return { status: exitCode, errors: stderr.toString() };
  }
}

test("with neither Bun nor npm it says so in one line and fails", () => {
  const { status, errors } = new Checkout("nothing").setup();
  expect(errors).toBe(
    "setup: neither Bun nor npm can be run: " +
      `install Bun ${PINNED}, or Node.js with npm, and try again\n`,
  );
  expect(status).toBe(1);
});

test("when npm fails it fails", () => {
  const checkout = new Checkout("npm-fails");
  checkout.command("npm", 'echo "npm: out of paper" >&2; exit 1');
  const { status, errors } = checkout.setup();
  expect(errors).toBe(
    "npm: out of paper\nsetup: 'npm ci' failed; what it printed above says why\n",
  );
  expect(status).toBe(1);
});

test("a Bun that cannot read the lock file leaves the work to npm", () => {
  const checkout = new Checkout("old-bun");
  checkout.command("bun", 'test "$1" = --version && echo 0.1.0 && exit 0; exit 1');
  checkout.command("npm", 'echo "npm: called with $*" >&2; exit 1');
  expect(checkout.setup().errors).toContain("npm: called with ci ");
});

/** What npm leaves when it refuses to run the bun package's install script. */
function withRefusedScripts(name: string): Checkout {
  const checkout = new Checkout(name);
  const platform = join(checkout.root, "node_modules/@oven/bun-linux-native/bin");
  mkdirSync(platform, { recursive: true });
  link(process.execPath, join(platform, "bun"));
  checkout.write("node_modules/bun/bin/bun.exe", "echo the install script was not run; exit 1\n");
  mkdirSync(join(checkout.root, "node_modules/.bin"));
  symlinkSync("../bun/bin/bun.exe", join(checkout.root, "node_modules/.bin/bun"));
  checkout.command("npm", "exit 0");
  checkout.write("scripts/build.ts", 'import "./builder.ts";\n');
  const built = "dist/ApplicationPoolServerExecutable";
  checkout.write(
    "scripts/builder.ts",
    `await Bun.write("${built}", "#!"); console.log("built");\n`,
  );
  return checkout;
}

function link(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    cpSync(from, to); // another file system
  }
}

describe("where install scripts were refused", () => {
  test("it puts the pinned Bun in its place and builds", () => {
    const checkout = withRefusedScripts("refused");
    expect(checkout.setup()).toEqual({ status: 0, errors: "built\n" });
    const installed = join(checkout.root, "node_modules/.bin/bun");
    expect(Bun.spawnSync([installed, "--version"]).stdout.toString().trim()).toBe(PINNED);
    expect(existsSync(join(checkout.root, "dist/ApplicationPoolServerExecutable"))).toBe(true);
  });

  test("it does not accept another version of Bun", () => {
    const checkout = withRefusedScripts("another");
    checkout.write("package.json", '{\n  "devDependencies": {\n    "bun": "0.0.1"\n  }\n}\n');
    const { status, errors } = checkout.setup();
    expect(errors).toBe(
      "setup: the packages are installed, but node_modules/.bin/bun is not Bun 0.0.1\n",
    );
    expect(status).toBe(1);
  });
});

test("it builds again when a source file is newer than the server, and only then", () => {
  const checkout = withRefusedScripts("stale");
  const server = join(checkout.root, "dist/ApplicationPoolServerExecutable");
  // `bun install` needs the network to fill this checkout, so Bun must not be tried.
  const age = (path: string, minutes: number): void =>
    utimesSync(join(checkout.root, path), new Date(), new Date(Date.now() - minutes * 60_000));
  checkout.write("dist/ApplicationPoolServerExecutable", "");
  chmodSync(server, 0o755);
  for (const path of ["src", "src/main.ts", "scripts/build.ts", "package.json", "bun.lock"]) {
    age(path, 10);
  }
  age("dist/ApplicationPoolServerExecutable", 5);
  expect(checkout.setup()).toEqual({ status: 0, errors: "" });
  age("src/main.ts", 1);
  rmSync(join(checkout.root, "node_modules/.bin/bun"));
  expect(checkout.setup()).toEqual({ status: 0, errors: "built\n" });
});
