/**
 * What packages hold, without building the program and without compressing it: a small file stands
 * for it. scripts/try-release tries the real ones.
 */
import { beforeAll, afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import manifest from "../../package.json";
import { commands } from "../../scripts/packages/commands.ts";
import {
  bashCompletion,
  fishCompletion,
  zshCompletion,
} from "../../scripts/packages/completions.ts";
import type { Build } from "../../scripts/packages/contents.ts";
import { neededGlibc, putDebianTree } from "../../scripts/packages/debian.ts";
import { putNpmTree } from "../../scripts/packages/npm.ts";
import { billOfMaterials } from "../../scripts/packages/sbom.ts";
import { readServeArguments } from "../../src/cli/serve-options.ts";

const version = { number: "1.2.3", text: "1.2.3 (abcdef1)", epochSeconds: 1_700_000_000 };
let work = "";
let build: Build;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), "pool-release-"));
  const executable = join(work, "program");
  writeFileSync(executable, "GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0");
  build = { target: "linux-x64", version, executable, maintainer: "A Maker <maker@test>" };
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

function tree(name: string, put: (directory: string, build: Build) => void): string {
  const directory = join(work, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  put(directory, build);
  return directory;
}

function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" });
}

/** Runs a tool of the system on a file. @returns what it has to say against it. */
function complaints(tool: readonly string[], path: string): string {
  const { success, stdout, stderr } = Bun.spawnSync([...tool, path]);
  return success ? "" : `${stdout.toString()}${stderr.toString()}`;
}

test("the Debian package has the program under two names, units, settings, manual and completions", () => {
  const directory = tree("debian", putDebianTree);
  expect(filesIn(directory)).toEqual(
    expect.arrayContaining([
      "usr/bin/ApplicationPoolServerExecutable",
      "usr/bin/poolserver",
      "usr/lib/systemd/system/application-pool.service",
      "usr/lib/systemd/system/application-pool.socket",
      "etc/application-pool/pool.toml",
      "etc/logrotate.d/application-pool",
      "var/log/application-pool",
      "usr/share/doc/application-pool-server/copyright",
      "usr/share/man/man1/poolserver.1.gz",
      "usr/share/man/man1/poolserver-serve.1.gz",
      "usr/share/man/man5/pool.toml.5.gz",
      "usr/share/bash-completion/completions/poolserver",
      "usr/share/zsh/vendor-completions/_poolserver",
      "usr/share/fish/vendor_completions.d/poolserver.fish",
    ]),
  );
  const control = readFileSync(join(directory, "DEBIAN/control"), "utf8");
  expect(control).toContain("Version: 1.2.3\nArchitecture: amd64\n");
  expect(control).toContain("Maintainer: A Maker <maker@test>\n");
  expect(control).toContain("Depends: libc6 (>= 2.17)\n");
  const unit = readFileSync(
    join(directory, "usr/lib/systemd/system/application-pool.service"),
    "utf8",
  );
  expect(unit).toContain("ExecStart=/usr/bin/ApplicationPoolServerExecutable serve ");
  expect(unit).not.toContain("/usr/local");
});

test("a maintainer is a name and an address, or nothing is made", () => {
  const script = join(import.meta.dir, "../../scripts/release.ts");
  for (const maintainer of ["", "Somebody", "<a@b>", "A <b>", "A <a@b>\nEssential: yes"]) {
    const command = [process.execPath, script, "--out", join(work, "none")];
    const { exitCode, stderr } = Bun.spawnSync([...command, "--maintainer", maintainer]);
    expect(stderr.toString()).toContain("not NAME <ADDRESS>");
    expect(exitCode).toBe(1);
  }
});

test("two Debian packages of one build are the same, byte for byte, and dpkg takes them", async () => {
  const packed = ["one", "two"].map((name) => {
    const path = join(work, `${name}.deb`);
    const made = Bun.spawnSync(
      ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree(name, putDebianTree), path],
      { env: { ...process.env, SOURCE_DATE_EPOCH: String(version.epochSeconds) } },
    );
    expect({ success: made.success, said: made.stderr.toString() }).toEqual({
      success: true,
      said: "",
    });
    return path;
  });
  const [one, two] = await Promise.all(packed.map((path) => Bun.file(path).bytes()));
  expect(one).toEqual(two ?? new Uint8Array());
});

test("the maintainer scripts are shell, and do nothing where systemd does not run", () => {
  const directory = tree("scripts", putDebianTree);
  for (const [name, argument] of [
    ["postinst", "configure"],
    ["prerm", "remove"],
    ["postrm", "remove"],
  ] as const) {
    const path = join(directory, "DEBIAN", name);
    expect(complaints(["sh", "-n"], path)).toBe("");
    expect(Bun.spawnSync(["sh", path, argument, ""], { env: { PATH: "" } }).exitCode).toBe(0);
  }
});

test("systemd takes the units", () => {
  const units = join(tree("units", putDebianTree), "usr/lib/systemd/system");
  for (const kind of ["service", "socket"]) {
    const path = join(units, `application-pool.${kind}`);
    // It looks for the program, and for the service of a socket.
    writeFileSync(
      path,
      readFileSync(path, "utf8").replaceAll(/\/usr\/bin\/\w+/g, process.execPath),
    );
    expect(complaints(["systemd-analyze", "verify", "--man=no"], path)).toBe("");
  }
});

test("the settings that are installed serve nothing, say so, and serve what is uncommented", () => {
  const text = readFileSync(
    join(tree("settings", putDebianTree), "etc/application-pool/pool.toml"),
    "utf8",
  );
  const read = (content: string) => {
    const file = join(work, "pool.toml");
    writeFileSync(file, content);
    return readServeArguments(["--config", file]).readConfig();
  };
  expect(() => read(text)).toThrow("apps: is missing: there is no application");
  const shop = join(work, "shop");
  mkdirSync(shop);
  chmodSync(shop, 0o755);
  const edited = text
    .replaceAll(/^#(?! )/gm, "")
    .replace("/srv/shop", shop)
    .replace(/^user = .*$/m, "");
  expect(read(edited).apps).toMatchObject([{ name: "shop", hosts: ["shop.example.com"] }]);
});

test("the npm package is for one processor, has both commands, and its library finds the program", async () => {
  const directory = tree("npm", putNpmTree);
  const content = (await Bun.file(join(directory, "package.json")).json()) as object;
  expect(content).toMatchObject({
    name: "application-pool-server-linux-x64",
    version: "1.2.3",
    os: ["linux"],
    cpu: ["x64"],
    bin: {
      poolserver: "dist/ApplicationPoolServerExecutable",
      ApplicationPoolServerExecutable: "dist/ApplicationPoolServerExecutable",
    },
  });
  expect(content).not.toHaveProperty("private");
  const library = `import { serverExecutable } from "./src/parent/index.ts";
    console.log(serverExecutable());`;
  const { stdout } = Bun.spawnSync([process.execPath, "-e", library], { cwd: directory });
  expect(stdout.toString()).toBe(`${directory}/dist/ApplicationPoolServerExecutable\n`);
});

test("the bill of materials names what is in the program, with versions, hashes and licences", () => {
  const bill = JSON.parse(billOfMaterials(build)) as {
    components: { purl: string; hashes: { content: string }[]; components?: { name: string }[] }[];
  };
  expect(bill).toMatchObject({
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    metadata: { component: { version: "1.2.3 (abcdef1)" } },
  });
  expect(bill.components.map(({ purl }) => purl)).toEqual([
    `pkg:npm/%40oven/bun-linux-x64@${manifest.devDependencies.bun}`,
    `pkg:npm/citty@${manifest.dependencies.citty}`,
  ]);
  for (const { hashes } of bill.components) expect(hashes[0]?.content).toMatch(/^[0-9a-f]{128}$/);
  const linked = bill.components[0]?.components?.map(({ name }) => name) ?? [];
  expect(linked).toEqual(expect.arrayContaining(["JavaScriptCore", "boringssl", "tinycc"]));
});

test("manual pages are what mandoc takes without a warning", () => {
  const pages = join(tree("manual", putDebianTree), "usr/share/man");
  const names = filesIn(pages).filter((name) => name.endsWith(".gz"));
  expect(names.length).toBeGreaterThan(4);
  for (const name of names) {
    const page = join(work, "page");
    writeFileSync(page, Bun.gunzipSync(readFileSync(join(pages, name))));
    const text = readFileSync(page, "utf8");
    if (text.startsWith(".so ")) continue;
    expect(text).not.toContain(".png"); // No picture, and nothing about one.
    expect(complaints(["mandoc", "-T", "lint", "-W", "warning"], page)).toBe("");
  }
});

test("completions are what their shells parse", () => {
  const texts = {
    bash: bashCompletion(commands()),
    zsh: zshCompletion(commands()),
    fish: fishCompletion(commands()),
  };
  for (const [shell, text] of Object.entries(texts)) {
    const path = join(work, `completion.${shell}`);
    writeFileSync(path, text);
    expect(complaints([shell, "-n"], path)).toBe("");
  }
});

/** What bash makes of the last of some words. */
function complete(...words: readonly string[]): string[] {
  const script = `${bashCompletion(commands())}
    COMP_WORDS=(poolserver "$@"); COMP_CWORD=$#; _poolserver; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = Bun.spawnSync(["bash", "-c", script, "bash", ...words]);
  return stdout.toString().trim().split("\n");
}

test("bash completes commands, options, and the values that are known", () => {
  expect(complete("re")).toEqual(["restart", "resume", "reload", "reopen-logs"]);
  expect(complete("serve", "--max-")).toEqual(["--max-per-app", "--max-idle-time", "--max-queue"]);
  expect(complete("serve", "--access-log", "")).toEqual(["common", "json", "off"]);
  expect(complete("serve", "--type", "sta")).toEqual(["static"]);
  expect(complete("serve", "--config", "/etc/hostn")).toEqual(["/etc/hostname"]);
});

test("the library the program needs is the newest that its symbols name", () => {
  expect(neededGlibc(Buffer.from("GLIBC_2.2.5\0 GLIBC_2.34\0 GLIBC_2.100x GLIBC_PRIVATE\0"))).toBe(
    "2.34",
  );
});
