/**
 * Makes what is published, into dist/release, for each architecture:
 *
 *     bun scripts/release.ts [--target linux-x64|linux-arm64 ...] [--out DIRECTORY]
 *                            [--maintainer "NAME <ADDRESS>"]
 *
 * a tarball laid out as below /usr/local, a Debian package, an npm package, a bill of materials;
 * and SHA256SUMS of all. From one commit the same files come, byte for byte, on one version of the
 * tools. The other architecture's Bun is fetched from the package registry, as scripts/build.ts
 * says: where it cannot be had, nothing is made, and `--target` makes the others. Without
 * `--maintainer` the variables DEBFULLNAME and DEBEMAIL count, as for Debian's own tools (dch(1)).
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { architectures, type Build, packageName, putContents, ROOT } from "./packages/contents.ts";
import type { Target } from "./packages/contents.ts";
import { packDebian, putDebianTree } from "./packages/debian.ts";
import { packNpm, putNpmTree } from "./packages/npm.ts";
import { runTool } from "./packages/run-tool.ts";
import { billOfMaterials } from "./packages/sbom.ts";
import { showUsage } from "./usage.ts";
import { readVersion } from "./version.ts";
import { workDirectory } from "./work-directory.ts";

const all = Object.keys(architectures) as Target[];

function readTargets(given: readonly string[]): Target[] {
  return given.map((name) => {
    const target = all.find((known) => known === name);
    if (target === undefined) throw new Error(`--target ${name}: not one of ${all.join(", ")}`);
    return target;
  });
}

/** No address can be in `.invalid` (RFC 2606): who publishes packages says whose they are. */
const nobody = "Unknown (see --maintainer of scripts/release) <nobody@maintainer.invalid>";

/** @throws Error when it is not as Debian wants it: a name, and an address. */
function readMaintainer(given: string | undefined): string {
  const { DEBFULLNAME: name = "", DEBEMAIL: address = "" } = process.env;
  // DEBEMAIL may have the name as well.
  const own = address.includes("<") ? address : `${name} <${address}>`;
  const maintainer = given ?? (address === "" ? nobody : own);
  if (/^[^<>\n]*[^<>\s][^<>\n]* <[^<>\s@]+@[^<>\s@]+>$/.test(maintainer)) return maintainer;
  throw new Error(`the maintainer is '${maintainer}', not NAME <ADDRESS>`);
}

function build(target: Target, directory: string, maintainer: string): Build {
  const executable = join(directory, target);
  runTool([
    process.execPath,
    join(ROOT, "scripts/build.ts"),
    "--target",
    target,
    "--outfile",
    executable,
  ]);
  return { target, version: readVersion(), executable, maintainer };
}

/** Without the time. */
const compress = "--use-compress-program=gzip -n";

/** @returns the file's name in the directory `out`. */
function packTarball(work: string, out: string, made: Build): string {
  const { number, epochSeconds } = made.version;
  const name = `${packageName}-${number}-${made.target}`;
  putContents(join(work, name), made);
  const owner = ["--owner=0", "--group=0", "--numeric-owner"];
  const same = ["--sort=name", `--mtime=@${epochSeconds}`, ...owner, "--format=gnu", compress];
  runTool(["tar", ...same, "-cf", join(out, `${name}.tar.gz`), "-C", work, name]);
  return `${name}.tar.gz`;
}

/** All packages of one build. @returns the files' names in the directory `out`. */
function pack(work: string, out: string, made: Build): string[] {
  const place = (name: string): string => {
    const path = join(work, `${made.target}-${name}`);
    mkdirSync(path, { mode: 0o755 });
    return path;
  };
  const [debian, npm] = [place("debian"), place("npm")];
  putDebianTree(debian, made);
  putNpmTree(npm, made);
  const bill = `${packageName}-${made.version.number}-${made.target}.cdx.json`;
  writeFileSync(join(out, bill), billOfMaterials(made));
  return [
    packTarball(work, out, made),
    packDebian(debian, out, made),
    packNpm(npm, out, made),
    bill,
  ];
}

function main(): void {
  showUsage(Bun.argv, import.meta.path);
  const { values } = parseArgs({
    options: {
      target: { type: "string", multiple: true },
      out: { type: "string" },
      maintainer: { type: "string" },
    },
  });
  const maintainer = readMaintainer(values.maintainer);
  const targets = values.target === undefined ? all : readTargets(values.target);
  const out = resolve(values.out ?? join(ROOT, "dist/release"));
  process.umask(0o022);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const work = workDirectory(".release-", undefined, join(ROOT, "dist"));
  try {
    const names = targets
      .map((target) => build(target, work, maintainer))
      .flatMap((made) => pack(work, out, made));
    const sums = names.toSorted().map((name) => {
      const sum = createHash("sha256")
        .update(readFileSync(join(out, name)))
        .digest("hex");
      return `${sum}  ${name}\n`;
    });
    writeFileSync(join(out, "SHA256SUMS"), sums.join(""));
    console.log(`made ${readVersion().text} in ${out}:\n${names.join("\n")}\nSHA256SUMS`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  main();
} catch (error) {
  console.error(`release: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
