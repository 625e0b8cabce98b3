/** Files of variables: what is taken, what each mistake is called, and with whose rights. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";

import { AppDirectory } from "../../src/spawn/builtin/app-directory.ts";
import { parseEnvText, readEnvFile } from "../../src/spawn/builtin/env-file.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const taken: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["", {}],
  ["\n# nothing\n\n", {}],
  ["A=1\nB=two words\n  C = x  \n", { A: "1", B: "two words", C: "x" }],
  ["A=1\r\nB=2\r\n", { A: "1", B: "2" }],
  [
    "export A=1 # why\nB='# not' # why\nC=\"x\\ny\"\nD=`it's`",
    {
      A: "1",
      B: "# not",
      C: "x\ny",
      D: "it's",
    },
  ],
  ['KEY="-----BEGIN\nabc\n-----END"\nB=', { KEY: "-----BEGIN\nabc\n-----END", B: "" }],
  ["URL=postgres://u:p@h/db?a=b\nA=$HOME", { URL: "postgres://u:p@h/db?a=b", A: "$HOME" }],
];

test.each(taken)("%j is read", (text, variables) => {
  expect(parseEnvText(text)).toEqual({ ...variables });
});

const refused: readonly (readonly [string, number])[] = [
  ["A=1\nsecret\n", 2],
  ["A='x\nB=2\n", 1],
  ['\n\nA="x" y', 3],
  ['A="two\nlines"\n1A=3', 3],
  ["A: 1", 1],
  ["A=1\nB=\0", 2],
  ['A="it is \\"so\\""', 1],
];

test.each(refused)("%j is wrong in line %d", (text, line) => {
  expect(parseEnvText(text)).toBe(line);
});

test("a file that cannot be had says why, and nothing of what is in it", () => {
  const root = temporaryDirectory();
  using directory = new AppDirectory(fromText(root));
  const why = (path: string) => errorOf(() => readEnvFile(directory, path)).message;
  writeFileSync(`${root}/.env`, "A=1\nsecret words\n");
  expect(why(".env")).toBe("its env_file, .env:2: neither NAME=value nor a comment");
  expect(why(`${root}/.env`)).toContain("/.env:2: neither");
  expect(why("gone")).toBe("its env_file 'gone' cannot be used: there is none");
  expect(why(".")).toBe("its env_file '.' cannot be used: not a file");
  truncateSync(`${root}/.env`, 2 ** 20);
  expect(why(".env")).toBe("its env_file '.env' cannot be used: it is too large");
});

test("a link to what the root's owner may not read is not followed for him", () => {
  const root = temporaryDirectory();
  symlinkSync("/etc/shadow", `${root}/.env`);
  if (process.geteuid?.() === 0) chownSync(root, 65_534, 65_534);
  using directory = new AppDirectory(fromText(root));
  expect(errorOf(() => readEnvFile(directory, ".env")).message).toBe(
    "its env_file '.env' cannot be used: it cannot be read",
  );
});

/** Whose they are: the root, a directory in it, and what a link in that leads to. */
const linked: readonly (readonly [string, root: number, within: number, mode: number])[] = [
  ["in a directory of his in root's", 0, 65_534, 0o600],
  ["in a directory of his that was left to root's group", 65_534, 65_534, 0o640],
];

test.each(linked)("nobody has variables of root's by a link %s", (_what, owner, within, mode) => {
  if (process.geteuid?.() !== 0) throw new Error("this test needs root");
  const root = temporaryDirectory();
  writeFileSync(`${root}/secret`, "SECRET=1\n");
  chmodSync(`${root}/secret`, mode);
  mkdirSync(`${root}/app/own`, { recursive: true });
  symlinkSync(`${root}/secret`, `${root}/app/own/.env`);
  chownSync(`${root}/app`, owner, 0);
  for (const name of ["own", "own/.env"]) lchownSync(`${root}/app/${name}`, within, 0);
  using directory = new AppDirectory(fromText(`${root}/app`));
  expect(errorOf(() => readEnvFile(directory, "own/.env")).message).toBe(
    "its env_file 'own/.env' cannot be used: it cannot be read",
  );
  // What is root's all the way is an operator's.
  for (const name of ["", "own", "own/.env"]) lchownSync(`${root}/app/${name}`, 0, 0);
  using whole = new AppDirectory(fromText(`${root}/app`));
  expect(readEnvFile(whole, "own/.env")).toEqual({ SECRET: "1" });
});
