/**
 * Whom an application's code may run as, by the files that are there: nobody gets code of his own
 * run with another's rights, and layouts that people use go on working. Only root can try.
 */
import { expect, test } from "bun:test";
import {
  chmodSync,
  lchownSync,
  linkSync,
  mkdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { lookAtApplication, type LookRequest } from "../../src/spawn/builtin/application-look.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { mountHangingFiles } from "../helpers/hanging-files.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const [alice, bob] = ["daemon", "bin"].map((name) => {
  const user = findUser(name);
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  return user;
});
if (alice === undefined || bob === undefined) throw new Error("a user is missing");
const root = { uid: 0, gid: 0 };
type Owner = Pick<typeof root, "uid" | "gid">;

/** A tree of files to build; paths are relative to its directory. */
class Tree {
  readonly path = temporaryDirectory();

  directory(name: string, { uid, gid }: Owner, mode = 0o755): this {
    mkdirSync(this.#at(name), { recursive: true });
    lchownSync(this.#at(name), uid, gid);
    chmodSync(this.#at(name), mode);
    return this;
  }

  file(name: string, { uid, gid }: Owner, mode = 0o644): this {
    mkdirSync(dirname(this.#at(name)), { recursive: true });
    writeFileSync(this.#at(name), "{}");
    lchownSync(this.#at(name), uid, gid);
    chmodSync(this.#at(name), mode);
    return this;
  }

  /** @param target as it is, relative or absolute; `@/x` is x in this tree. */
  link(name: string, target: string, { uid, gid }: Owner): this {
    symlinkSync(target.replace("@", this.path), this.#at(name));
    lchownSync(this.#at(name), uid, gid);
    return this;
  }

  hardLink(name: string, of: string): this {
    linkSync(this.#at(of), this.#at(name));
    return this;
  }

  #at(name: string): string {
    return join(this.path, name);
  }
}

function lookAt(tree: Tree, changed: Partial<LookRequest> & { at?: string } = {}) {
  const { at = "app", ...rest } = changed;
  return lookAtApplication({
    root: fromText(join(tree.path, at)),
    appType: "auto",
    lowerPrivilege: true,
    lowestUser: ascii("nobody"),
    env: { PATH: "/usr/bin:/bin" },
    ruby: ascii("ruby"),
    ...rest,
  });
}

/** An application of Alice's that may run as her. */
function alices(): Tree {
  return new Tree().directory("app", alice ?? root).file("app/wsgi.py", alice ?? root);
}

type Case = readonly [string, () => Tree, string, (Partial<LookRequest> & { at?: string })?];

/** With all four: a function with more parameters than values would wait for a callback. */
function whole(cases: readonly Case[]): (readonly [...Required<Case>])[] {
  return cases.map(([what, build, expected, changed = {}]) => [what, build, expected, changed]);
}

const attacks: readonly Case[] = [
  [
    "her link to his startup file",
    () => {
      const tree = new Tree().directory("app", alice).file("b/wsgi.py", bob);
      return tree.link("app/wsgi.py", "@/b/wsgi.py", alice);
    },
    "app' belongs to daemon, and the application would run as bin",
  ],
  [
    "her link in a directory of root's",
    () => {
      const tree = new Tree().directory("app", root).file("b/wsgi.py", bob);
      return tree.link("app/wsgi.py", "../b/wsgi.py", alice);
    },
    "the link '$/app/wsgi.py' belongs to daemon, and the application would run as bin",
  ],
  [
    "a hard link to his file",
    () => {
      const tree = new Tree().directory("app", alice).file("b/wsgi.py", bob);
      return tree.hardLink("app/wsgi.py", "b/wsgi.py");
    },
    "'$/app' belongs to daemon",
  ],
  [
    "a file of his in her directory",
    () => new Tree().directory("app", alice).file("app/config.ru", bob).file("app/Gemfile", alice),
    "'$/app' belongs to daemon, and the application would run as bin",
  ],
  [
    "her link to his whole application",
    () => {
      const tree = new Tree().directory("home", alice).directory("b/app", bob);
      return tree.file("b/app/wsgi.py", bob).link("home/current", "@/b/app", alice);
    },
    "the link '$/home/current' belongs to daemon, and the application would run as bin",
    { at: "home/current" },
  ],
  [
    "her link in the middle of the root's path",
    () => {
      const tree = new Tree().directory("home", alice).directory("b/app", bob);
      return tree.file("b/app/wsgi.py", bob).link("home/x", "@/b", alice);
    },
    "the link '$/home/x' belongs to daemon",
    { at: "home/x/app" },
  ],
  [
    "her virtual environment beside his startup file",
    () => {
      const tree = new Tree().directory("app", root).file("app/wsgi.py", bob);
      tree.directory("app/.venv", bob).directory("app/.venv/bin", bob);
      return tree.file("app/.venv/pyvenv.cfg", bob).file("app/.venv/bin/python3", alice, 0o755);
    },
    "'$/app/.venv/bin/python3' belongs to daemon, and the application would run as bin",
  ],
  [
    "a virtual environment that her link leads to",
    () => {
      const tree = new Tree().directory("app", root).file("app/wsgi.py", bob);
      return tree.file("a/pyvenv.cfg", alice).link("app/venv", "@/a", alice);
    },
    "the link '$/app/venv' belongs to daemon",
  ],
  [
    "her Gemfile beside his config.ru",
    () => new Tree().directory("app", root).file("app/config.ru", bob).file("app/Gemfile", alice),
    "'$/app/Gemfile' belongs to daemon, and the application would run as bin",
  ],
  [
    "her package.json beside his program",
    () => new Tree().directory("app", root).file("app/app.js", bob).file("app/package.json", alice),
    "'$/app/package.json' belongs to daemon",
  ],
  [
    "her modules beside his program",
    () =>
      new Tree()
        .directory("app", root)
        .file("app/app.js", bob)
        .directory("app/node_modules", alice),
    "'$/app/node_modules' belongs to daemon",
  ],
  [
    "her python on a PATH that leads into the application",
    () => {
      const tree = new Tree().directory("app", root).file("app/wsgi.py", bob);
      return tree.directory("app/bin", root).file("app/bin/python3", alice, 0o755);
    },
    "'$/app/bin/python3' belongs to daemon",
    { env: { PATH: "bin:/usr/bin" } },
  ],
  [
    "her file beside root's, to become the lowest user",
    () => new Tree().directory("app", root).file("app/config.ru", root).file("app/Gemfile", alice),
    "'$/app/Gemfile' belongs to daemon, and the application would run as nobody",
  ],
  [
    "a startup file that everybody may write",
    () => new Tree().directory("app", alice).file("app/wsgi.py", alice, 0o666),
    "'$/app/wsgi.py' may be written by everybody",
  ],
  [
    "a root directory that everybody may write, sticky or not",
    () => new Tree().directory("app", alice, 0o1777).file("app/wsgi.py", alice),
    "'$/app' may be written by everybody",
  ],
  [
    "a sticky root directory of root's, where she could put a module beside his startup file",
    () => new Tree().directory("app", root, 0o1777).file("app/wsgi.py", bob),
    "'$/app' may be written by everybody",
  ],
  [
    "modules in a sticky directory of root's, where she could put another",
    () => {
      const tree = new Tree().directory("app", bob).file("app/app.js", bob);
      return tree.directory("all", root, 0o1777).link("app/node_modules", "@/all", bob);
    },
    "'$/all' may be written by everybody",
  ],
  [
    "a startup file in a sticky directory of root's, by a link",
    () => {
      const tree = new Tree().directory("app", bob).directory("all", root, 0o1777);
      return tree.file("all/app.js", bob).link("app/app.js", "@/all/app.js", bob);
    },
    "'$/all' may be written by everybody",
  ],
  [
    "a directory on the way that everybody may write",
    () => {
      const tree = new Tree().directory("app", alice).directory("app/venv", alice, 0o777);
      return tree.file("app/wsgi.py", alice).file("app/venv/pyvenv.cfg", alice);
    },
    "'$/app/venv' may be written by everybody",
  ],
  [
    "a file that another's group may write",
    () =>
      new Tree()
        .directory("app", alice)
        .file("app/wsgi.py", { uid: alice.uid, gid: bob.gid }, 0o664),
    "'$/app/wsgi.py' may be written by group 2",
  ],
  [
    "a file of root's that everybody may write",
    () => new Tree().directory("app", root).file("app/wsgi.py", root, 0o666),
    "may be written by everybody",
  ],
  [
    "her startup file in his project, where the configuration names it",
    () => new Tree().directory("app", root).directory("app/lib", bob).file("app/lib/x.js", alice),
    "'$/app/lib' belongs to bin, and the application would run as daemon",
    { startupFile: "lib/x.js" },
  ],
  [
    "his module in her package",
    () => new Tree().directory("app", root).directory("app/web", alice).file("app/web/x.py", bob),
    "'$/app/web' belongs to daemon, and the application would run as bin",
    { app: "web.x:application" },
  ],
  [
    "variables of hers",
    () => new Tree().directory("app", root).file("app/wsgi.py", bob).file("app/.env", alice),
    "'$/app/.env' belongs to daemon, and the application would run as bin",
    { envFile: ".env" },
  ],
  [
    "a working directory of hers",
    () => new Tree().directory("app", root).file("app/wsgi.py", bob).directory("app/var", alice),
    "'$/app/var' belongs to daemon",
    { cwd: "var" },
  ],
  [
    "an interpreter of hers",
    () => {
      const tree = new Tree().directory("app", root).file("app/app.js", bob);
      tree.directory("app/own", root).directory("app/own/bin", root);
      return tree.file("app/own/bin/node", alice, 0o755);
    },
    "'$/app/own/bin/node' belongs to daemon",
    { interpreter: "own" },
  ],
];

test.each(whole(attacks))("refuses %s, and says which and whose", (_what, build, why, changed) => {
  const tree = build();
  const looked = lookAt(tree, changed);
  expect(looked.facts).toBeUndefined();
  expect(looked.why).toContain(why.replace("$", tree.path));
});

const layouts: readonly Case[] = [
  ["an application of one user", alices, "daemon"],
  [
    "a link to the current release, made by its owner",
    () => {
      const tree = new Tree().directory("home", alice).directory("home/releases/1", alice);
      tree.file("home/releases/1/wsgi.py", alice);
      return tree.link("home/current", "releases/1", alice);
    },
    "daemon",
    { at: "home/current" },
  ],
  [
    "a link of root's to somebody's application",
    () => {
      const tree = alices();
      return tree.link("site", "@/app", root);
    },
    "daemon",
    { at: "site" },
  ],
  [
    "a directory of root's with files of a user",
    () => new Tree().directory("app", root).file("app/wsgi.py", alice),
    "daemon",
  ],
  [
    "a package: all of it root's, with a group that may write",
    () => new Tree().directory("app", { uid: 0, gid: 50 }, 0o2775).file("app/config.ru", root),
    "nobody",
  ],
  [
    "shared files by links of their owner, and modules by a link",
    () => {
      const tree = new Tree().directory("app", alice).file("shared/config.ru", alice);
      tree.link("app/config.ru", "../shared/config.ru", alice);
      tree.directory("shared/bundle", alice).link("app/.bundle", "../shared/bundle", alice);
      return tree.file("app/Gemfile", alice, 0o600);
    },
    "daemon",
  ],
  [
    "a virtual environment whose python is the system's",
    () => {
      const tree = alices().directory("app/.venv/bin", alice).directory("app/.venv", alice);
      tree.file("app/.venv/pyvenv.cfg", alice).link("app/.venv/bin/python", "/bin/sh", alice);
      return tree.link("app/.venv/bin/python3", "python", alice);
    },
    "daemon",
  ],
  [
    "what is reached through a sticky directory of root's",
    () => {
      const tree = new Tree().directory("all", root, 0o1777).directory("all/mine", alice);
      tree.file("all/mine/wsgi.py", alice).directory("app", alice);
      return tree.link("app/wsgi.py", "@/all/mine/wsgi.py", alice);
    },
    "daemon",
  ],
  [
    "files that the user's own group may write",
    () => new Tree().directory("app", alice, 0o2775).file("app/wsgi.py", alice, 0o664),
    "daemon",
  ],
  [
    "a file that a link beside it leaves out of the application",
    () => alices().file("b/x", bob).link("app/notes", "@/b/x", alice),
    "daemon",
  ],
  [
    "what would be refused, where the configuration says who runs it",
    () => new Tree().directory("app", alice, 0o777).file("app/wsgi.py", bob, 0o666),
    "games",
    { user: ascii("games") },
  ],
];

test.each(whole(layouts))("runs %s", (_what, build, user, changed) => {
  const looked = lookAt(build(), changed);
  expect(looked.why).toBeUndefined();
  expect(looked.facts?.user?.name).toBe(user);
});

test("asks nothing of files where privileges are not lowered", () => {
  const tree = new Tree().directory("app", alice, 0o777).file("app/wsgi.py", bob, 0o666);
  const { facts } = lookAt(tree, { lowerPrivilege: false });
  expect(facts?.loader).toBe("python");
  expect(facts?.user).toBeUndefined();
});

test("a directory that has got another's name is another", () => {
  const tree = alices();
  const before = lookAt(tree).facts?.identity;
  expect(lookAt(tree).facts?.identity).toBe(String(before));
  renameSync(join(tree.path, "app"), join(tree.path, "old"));
  tree.directory("app", alice).file("app/wsgi.py", alice);
  expect(lookAt(tree).facts?.identity).not.toBe(String(before));
});

test("nobody's files are another's because his file system says so", async () => {
  const directory = temporaryDirectory();
  const { uid: mounter } = alice;
  await using files = await mountHangingFiles(directory, { mounter, owner: bob.uid });
  writeFileSync(join(files.source, "wsgi.py"), "");
  expect(statSync(join(files.mounted, "wsgi.py")).uid).toBe(bob.uid);
  const tree = new Tree();
  symlinkSync(files.mounted, join(tree.path, "app"));
  expect(lookAt(tree).facts?.user?.name).toBe("daemon");
});
