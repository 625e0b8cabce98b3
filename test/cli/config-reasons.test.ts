/** A configuration that is refused is told the reason that holds, and what is to be written. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

function read(lines: string): unknown {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "shop"));
  writeFileSync(join(directory, "pool.toml"), lines);
  return readServeArguments(["--config", join(directory, "pool.toml")]).readConfig();
}

const app = `[[apps]]\nroot = "shop"\n`;
const files = `${app}[[apps.static]]\nroot = "."\n`;

test.each([
  [`${app}prefix = "/a b"\n`, `apps[0].prefix: '/a b' may not hold " "`],
  [`${app}prefix = "/a%20b"\n`, `apps[0].prefix: '/a%20b' may not hold "%"`],
  [`${app}prefix = "/a/../b"\n`, "apps[0].prefix: '/a/../b' may not have '..' between its slashes"],
  [`${app}prefix = "/."\n`, "apps[0].prefix: '/.' may not have '.' between its slashes"],
  [`${app}prefix = "//a"\n`, "apps[0].prefix: '//a' may not have '' between its slashes"],
  [`${app}prefix = "/a/"\n`, "apps[0].prefix: '/a/' must begin with / and not end with one"],
  [`${files}path = "/a?"\n`, `apps[0].static[0].path: '/a?' may not hold "?"`],
  [`${files}path = ""\n`, "apps[0].static[0].path: '' must begin with / and not end with one"],
  [
    `${app}[apps.static]\n`,
    "apps[0].static: is a table, not a list of tables: write [[apps.static]]",
  ],
  [`${app}user = "root"\n`, "apps[0].user: 'root' is root, as whom no application is run"],
  [`[[apps]]\nroot = ""\n`, "apps[0].root: is empty: '.' is this directory"],
  [`${app}[admin]\n`, "admin.listen: is missing"],
  [
    `listen = ["*:80"]\n${app}[admin]\nlisten = "127.0.0.1:9"\n[tls]\nlisten = ["0.0.0.0:80"]\n`,
    "tls.listen: '0.0.0.0:80' is given twice",
  ],
  [
    `listen = ["unix:a"]\n${app}[admin]\nlisten = "unix:./a"\n`,
    "admin.listen: 'unix:./a' is given twice",
  ],
  [`silence_time = "1ms"\n${app}`, "silence_time: is less than 1s; 0s is no limit"],
])("refused: %j", (lines, why) => {
  expect(() => read(lines)).toThrow(why);
});

test("what is no text is said once", () => {
  expect(() => read("[[apps]]\nroot = 5\n")).toThrow(/^[^\n]*apps\[0\]\.root: is 5, not a text$/);
});

test.each([
  `${app}prefix = "/a"\n`,
  `${app}prefix = "/.a/b..c/ä"\n`,
  `${files}path = "/a%20b"\n`,
  `silence_time = "1s"\n${app}`,
  `silence_time = "off"\n${app}`,
])("taken: %j", (lines) => {
  expect(read(lines)).toBeDefined();
});
