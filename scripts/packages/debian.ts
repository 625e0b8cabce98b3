/**
 * The Debian package. It is made by dpkg-deb alone; maintainer scripts do what only they can, and
 * nothing is started before an administrator has named an application.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

import { runTool } from "./run-tool.ts";
import { architectures, fileOf, packageName, put, putContents, summary } from "./contents.ts";
import type { Build } from "./contents.ts";
import { type LinkedLibrary, linkedLibraries } from "./licences.ts";

/** Where a release is installed by hand, and where a package puts it. */
const byHand = "/usr/local/bin/";
const packaged = "/usr/bin/";

/** Files that an administrator's changes belong to. */
const settings = {
  "etc/application-pool/pool.toml": "scripts/packages/debian/pool.toml",
  "etc/logrotate.d/application-pool": "examples/serve/logrotate.conf",
} as const;

const description = [
  "Rack, WSGI, ASGI, Node and Bun applications, and any program that speaks",
  "HTTP/1.1: started, kept running, restarted without losing a request, each",
  "under a user of its own.",
];

/** Puts the package's tree into an empty directory. */
export function putDebianTree(directory: string, build: Build): void {
  putContents(join(directory, "usr"), build);
  const documents = join(directory, "usr/share/doc", packageName);
  put(join(documents, "copyright"), copyright(linkedLibraries()));
  put(
    join(documents, "changelog.gz"),
    Bun.gzipSync(Buffer.from(fileOf("CHANGELOG.md")), { level: 9 }),
  );
  for (const kind of ["service", "socket"]) {
    const unit = fileOf(`examples/serve/application-pool.${kind}`);
    const path = `usr/lib/systemd/system/application-pool.${kind}`;
    put(join(directory, path), unit.replaceAll(byHand, packaged));
  }
  for (const [path, source] of Object.entries(settings)) put(join(directory, path), fileOf(source));
  // Applications' variables stand there: passwords.
  put(
    join(directory, "etc/application-pool/pool.toml"),
    fileOf(settings["etc/application-pool/pool.toml"]),
    0o640,
  );
  mkdirSync(join(directory, "var/log/application-pool"), { recursive: true, mode: 0o750 });
  putControl(directory, build);
}

function putControl(directory: string, build: Build): void {
  const files = filesBelow(directory);
  const kibibytes = files.reduce(
    (sum, path) => sum + Math.ceil(readFileSync(path).length / 1024),
    0,
  );
  const control = {
    Package: packageName,
    Version: build.version.number,
    Architecture: architectures[build.target].debian,
    Maintainer: build.maintainer,
    "Installed-Size": kibibytes,
    Depends: `libc6 (>= ${neededGlibc(readFileSync(build.executable))})`,
    Suggests: "logrotate",
    Section: "web",
    Priority: "optional",
    Description: [summary, ...description].join("\n "),
  };
  const sums = files.map((path) => {
    const sum = createHash("md5").update(readFileSync(path)).digest("hex");
    return `${sum}  ${relative(directory, path)}`;
  });
  const place = join(directory, "DEBIAN");
  const fields = Object.entries(control).map(([name, value]) => `${name}: ${value}`);
  put(join(place, "control"), `${fields.join("\n")}\n`);
  put(
    join(place, "conffiles"),
    Object.keys(settings)
      .map((path) => `/${path}\n`)
      .join(""),
  );
  put(join(place, "md5sums"), `${sums.join("\n")}\n`);
  for (const name of ["postinst", "prerm", "postrm"]) {
    put(join(place, name), fileOf(`scripts/packages/debian/${name}`), 0o755);
  }
}

/** All plain files, sorted; what a settings' file has become is not dpkg's to compare. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !relative(directory, path).startsWith("etc/"))
    .toSorted();
}

/** The oldest C library that has what the program asks for: its symbols name theirs. */
export function neededGlibc(executable: Buffer): string {
  const names = executable.toString("latin1").matchAll(/GLIBC_2\.(\d{1,3})(?:\.\d+)?\0/g);
  const minors = Array.from(names, ([, minor]) => Number(minor));
  if (minors.length === 0) throw new Error("make the Debian package: the program needs no glibc");
  return `2.${Math.max(...minors)}`;
}

/** A text as lines that go on a field. */
function indented(text: string): string {
  const lines = text.trimEnd().split("\n");
  return lines.map((line) => ` ${line === "" ? "." : line}`).join("\n");
}

/** In the machine-readable form (copyright-format 1.0). */
function copyright(libraries: readonly LinkedLibrary[]): string {
  const licence = fileOf("LICENSE");
  const [, holder = ""] = /^Copyright \(c\) (.*)$/m.exec(licence) ?? [];
  const terms = licence.slice(licence.indexOf("Permission"));
  const list = libraries.map(({ name, licence: its, url }) => `${name} (${its}): ${url}`);
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: ${holder}
License: Expat
${indented(terms)}

Files: usr/bin/*
Copyright: ${holder}; the authors of Bun, of citty, and of what Bun links
License: Expat and others
 The program contains the runtime Bun (MIT, https://github.com/oven-sh/bun), citty (MIT,
 https://github.com/unjs/citty), and what Bun links. WebKit's JavaScriptCore is under the
 LGPL-2 (on Debian systems: /usr/share/common-licenses/LGPL-2); its source, with Bun's
 changes, is at https://github.com/oven-sh/WebKit. The others:
 .
${indented(list.join("\n"))}
`;
}

/**
 * dpkg knows zstd from Debian 12 on; xz takes minutes for a tenth less. One thread, so that the
 * file is the same wherever it is made.
 */
const compression = ["-Zzstd", "-z9", "--threads-max=1"];

/** Packs a tree. @returns the file's name in the directory `out`. */
export function packDebian(tree: string, out: string, build: Build): string {
  const { number, epochSeconds } = build.version;
  const name = `${packageName}_${number}_${architectures[build.target].debian}.deb`;
  runTool(["dpkg-deb", "--root-owner-group", ...compression, "--build", tree, join(out, name)], {
    SOURCE_DATE_EPOCH: String(epochSeconds),
  });
  return name;
}
