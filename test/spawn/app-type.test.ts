/** Finding an application: which file starts it, and a clear word when there is none. */
import { expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";

import { findApplication } from "../../src/spawn/builtin/app-type.ts";
import type { AppType } from "../../src/wire/app-request.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { writeApp } from "./support.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

function app(files: Readonly<Record<string, string>>): string {
  return writeApp(temporaryDirectory(), "app", { ".keep": "", ...files });
}

function find(root: string, appType: AppType, hasNode = true): string {
  const { loader, startupFile } = findApplication(fromText(root), appType, hasNode);
  return `${loader} ${startupFile}`;
}

const main = (file: unknown) => JSON.stringify({ main: file });

const everything = {
  "config.ru": "",
  "passenger_wsgi.py": "",
  "wsgi.py": "",
  "asgi.py": "",
  "main.py": "",
  "app.py": "",
  "server.ts": "",
  "index.ts": "",
  "package.json": main("main.js"),
  "main.js": "",
  "app.js": "",
  "server.js": "",
  "index.js": "",
};

const order: readonly (readonly [AppType, readonly string[]])[] = [
  ["rack", ["rack config.ru"]],
  ["rails", ["rack config.ru"]],
  ["wsgi", ["wsgi passenger_wsgi.py", "wsgi wsgi.py"]],
  [
    "asgi",
    ["asgi asgi.py", "asgi passenger_wsgi.py", "asgi wsgi.py", "asgi main.py", "asgi app.py"],
  ],
  ["bun", ["bun server.ts", "bun index.ts", "bun main.js", "bun server.js", "bun index.js"]],
  ["node", ["node main.js", "node app.js", "node server.js", "node index.js"]],
  [
    "auto",
    [
      "rack config.ru",
      "python passenger_wsgi.py",
      "python wsgi.py",
      "asgi asgi.py",
      "bun server.ts",
      "bun index.ts",
      "node main.js",
      "node app.js",
      "node server.js",
      "node index.js",
    ],
  ],
];

test.each(order)("looks for the startup files of %s in the protocol's order", (type, expected) => {
  const files: Record<string, string> = { ...everything };
  for (const found of expected) {
    expect(find(app(files), type)).toBe(found);
    delete files[found.split(" ")[1] ?? ""];
  }
  expect(() => find(app(files), type)).toThrow(`no startup file of type ${type} in`);
});

test("takes what would be Node's for Bun's where there is no Node, in auto only", () => {
  const root = app({ "app.js": "" });
  expect(find(root, "auto", true)).toBe("node app.js");
  expect(find(root, "auto", false)).toBe("bun app.js");
  expect(find(root, "node", false)).toBe("node app.js");
});

test("takes a TypeScript main for Bun's in auto", () => {
  expect(find(app({ "package.json": main("src/x.ts"), "src/x.ts": "" }), "auto")).toBe(
    "bun src/x.ts",
  );
});

const shortMains: readonly (readonly [string, string, AppType, string])[] = [
  ["lib/start", "lib/start.js", "node", "node lib/start.js"],
  ["lib", "lib/index.js", "node", "node lib/index.js"],
  ["./lib/", "lib/index.js", "auto", "node ./lib/index.js"],
  [".", "index.js", "bun", "bun ./index.js"],
  ["src/start", "src/start.ts", "auto", "bun src/start.ts"],
];

test.each(shortMains)("takes a main of %s for %s in %s", (named, file, type, expected) => {
  expect(find(app({ "package.json": main(named), [file]: "" }), type)).toBe(expected);
});

test("does not take TypeScript for a main of Node's", () => {
  const root = app({ "package.json": main("src/start"), "src/start.ts": "" });
  expect(() => find(root, "node")).toThrow("package.json main ('src/start')");
});

test("follows symbolic links, and asks who owns what they lead to", () => {
  const root = app({ "real.ts": "" });
  symlinkSync("real.ts", `${root}/server.ts`);
  const { startupFile, owner } = findApplication(ascii(root), "bun", true);
  expect(String(startupFile)).toBe("server.ts");
  expect(owner).toBe(process.getuid?.() ?? -1);
});

test("finds an application below a root that is no UTF-8", () => {
  const root = ascii(`${temporaryDirectory()}/\xff`);
  mkdirSync(Buffer.from(root, "latin1"));
  writeFileSync(Buffer.from(`${root}/config.ru`, "latin1"), "");
  expect(findApplication(root, "rack", true).loader).toBe("rack");
});

test("names what was looked for and where", () => {
  const root = app({ "package.json": main("gone.js") });
  mkdirSync(`${root}/server.ts`);
  expect(errorOf(() => find(root, "bun")).message).toBe(
    `no startup file of type bun in '${root}'; looked for server.ts (not a file), ` +
      "index.ts, package.json main ('gone.js'), server.js, index.js",
  );
});

const managePy = (settings: string) =>
  `import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "${settings}")\n`;

const hinted: readonly (readonly [string, Readonly<Record<string, string>>, AppType, string])[] = [
  [
    "a Django project",
    { "manage.py": managePy("shop.settings") },
    "auto",
    'set app = "shop.wsgi:application"',
  ],
  [
    "one with several settings",
    { "manage.py": managePy("config.web.settings.local") },
    "wsgi",
    'set app = "config.web.wsgi:application"',
  ],
  [
    "a build of Astro",
    { "dist/server/entry.mjs": "" },
    "auto",
    'set startup_file = "dist/server/entry.mjs", which is there',
  ],
  ["a build of Nitro", { ".output/server/index.mjs": "" }, "node", '".output/server/index.mjs"'],
  [
    "two builds",
    { "build/index.js": "", ".next/standalone/server.js": "" },
    "bun",
    '"build/index.js" or ".next/standalone/server.js", which is there',
  ],
  [
    "a package that says how it is started",
    {
      "package.json":
        '{"scripts": {"start": "NODE_ENV=x node --enable-source-maps ./bin/w.mjs -p"}}',
      "bin/w.mjs": "",
    },
    "auto",
    'set startup_file = "bin/w.mjs", which is there',
  ],
  [
    "a package that starts what its framework has built",
    { "package.json": '{"scripts": {"start": "node dist/main.js"}}', "dist/main.js": "" },
    "auto",
    'set startup_file = "dist/main.js", which is there',
  ],
  [
    "a Django project that is to be ASGI's",
    { "manage.py": managePy("shop.settings") },
    "asgi",
    'set app = "shop.asgi:application"',
  ],
  ["a file of Flask's", { "main.py": "" }, "auto", 'set app = "main"'],
  [
    "a site of files",
    { "index.html": "" },
    "auto",
    "index.html is there: if files are all there is",
  ],
];

test.each(hinted)("of %s it is said what to set", (_, files, type, expected) => {
  expect(errorOf(() => find(app(files), type)).message).toContain(expected);
});

test("where nothing is known nothing is said, nor of links that lead nowhere", () => {
  const root = app({ "package.json": '{"scripts": {"start": "node ../../x.js"}}' });
  symlinkSync("/nonexistent", `${root}/main.py`);
  expect(errorOf(() => find(root, "auto")).message).toEndWith("server.js, index.js");
});

test("manage.py is no startup file, and what is one is said", () => {
  const root = fromText(app({ "manage.py": managePy("shop.settings") }));
  const named = () => findApplication(root, "auto", true, { startupFile: "manage.py" });
  expect(errorOf(named).message).toBe(
    'manage.py starts no application: set app = "shop.wsgi:application"',
  );
});

test("a byte order mark before package.json is none of its text", () => {
  const root = app({ "package.json": `\uFEFF${main("lib/x.js")}`, "lib/x.js": "" });
  expect(find(root, "node")).toBe("node lib/x.js");
});

const uselessPackages: readonly (readonly [string, string, string])[] = [
  ["no JSON", "root:x:0:0", "it is not JSON"],
  ["no object", "null", "it names none"],
  ["no main", "{}", "it names none"],
  ["a main that is no text", main(3), "it names none"],
  ["an absolute main", main("/etc/passwd"), "it leads out of the application"],
  ["a main beyond the root", main("lib/../../x.js"), "it leads out of the application"],
];

test.each(uselessPackages)("makes nothing of a package.json with %s", (_, text, why) => {
  const { message } = errorOf(() => find(app({ "package.json": text }), "node"));
  expect(message).toContain(`package.json main (${why})`);
  expect(message).not.toContain("root:x");
});

test("reads no package.json that is large or no regular file", () => {
  const root = app({ "package.json": "{}" });
  truncateSync(`${root}/package.json`, 2 ** 21);
  expect(errorOf(() => find(root, "node")).message).toContain("it is too large");
  const other = app({});
  // A FIFO would make a plain read wait for a writer for ever.
  Bun.spawnSync(["mkfifo", `${other}/package.json`]);
  expect(errorOf(() => find(other, "node")).message).toContain("package.json main (not a file)");
});

test.each([
  ["relative/path", "is not an absolute path"],
  ["", "is not an absolute path"],
  ["/no/such/directory", "cannot be used: there is none"],
  ["/etc/passwd", "cannot be used: it is not a directory"],
])("refuses the root '%s'", (root, why) => {
  expect(errorOf(() => find(root, "auto")).message).toContain(why);
});

test("says that a root may not be looked into", () => {
  const parent = temporaryDirectory();
  const root = writeApp(parent, "closed/app", { "server.ts": "" });
  chmodSync(`${parent}/closed`, 0o000);
  // Root looks into everything, so ask as somebody else.
  const module = `${import.meta.dir}/../../src/spawn/builtin/app-type.ts`;
  const script = `import { findApplication } from "${module}";
    process.setgid?.(65534); process.setuid?.(65534);
    try { findApplication("${root}", "bun", true) } catch (error) { console.log(error.message) }`;
  const { stdout } = Bun.spawnSync([process.execPath, "-e", script], { cwd: "/" });
  chmodSync(`${parent}/closed`, 0o755);
  expect(stdout.toString()).toContain("cannot be used: EACCES");
});

test("a server that is root reads package.json with the rights of the directory's owner", () => {
  const root = app({ "package.json": main("main.js"), "main.js": "" });
  const isRoot = process.geteuid?.() === 0;
  // Without root there is nobody else to be: the file is closed to all.
  chmodSync(`${root}/package.json`, isRoot ? 0o600 : 0);
  if (isRoot) chownSync(root, 65_534, 65_534);
  const error = errorOf(() => find(root, "node"));
  expect(error.message).toContain("package.json main (it cannot be read)");
  chmodSync(`${root}/package.json`, 0o644);
  expect(find(root, "node")).toBe("node main.js");
});
