/** Where logs go, and what their lines are, as a configuration says it. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { ConfigurationError } from "../../src/cli/usage-error.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const app = '[[apps]]\nroot = "one"\n';

/** The configuration, or what is wrong with it. */
function read(settings: string) {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "one"));
  const file = join(directory, "pool.toml");
  writeFileSync(file, settings);
  try {
    return { directory, config: readServeArguments(["--config", file]).readConfig() };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return {
      directory,
      problems: error.problems.map((text) => text.replace(`${file}: `, "")),
    };
  }
}

test("an application's log lies where the configuration does; without one it has none", () => {
  const { directory, config } = read(`${app}log = "one.log"\n`);
  expect(config?.apps[0]?.log).toEqual({ file: join(directory, "one.log") });
  expect(read(app).config?.apps[0]?.log).toBeUndefined();
});

test("what cannot be an application's log is refused; twins have to agree", () => {
  const twin = `${app}name = "two"\nprefix = "/x"\n`;
  expect(read(`${app}log = "none/x.log"\n${twin}log = "journald:/none"\n`).problems).toEqual([
    expect.stringMatching(/^apps\[0\]\.log: is 'none\/x\.log', and '.*none' is no directory$/),
    "apps[1].log: is journald:/none, and there is no socket '/none'",
    "apps[1].root: apps[0] has it too, but other settings for its processes",
  ]);
  expect(read(`${app}log = ""\n`).problems).toEqual(["apps[0].log: is empty: leave it out"]);
});

test("[log] says where the output of all applications goes that have no log of their own", () => {
  const apps = `${app}[[apps]]\nroot = "one"\nname = "a/b"\nprefix = "/x"\n`;
  const other = `[[apps]]\nroot = "two"\nprefix = "/y"\n`;
  const usual = (text: string, more = "") =>
    read(`[log]\napplications = "${text}"\n${apps}${other}${more}`);
  const { directory, config } = usual("{app}.log");
  // Two of one root share processes, and so one log.
  expect(config?.apps.map(({ log }) => log)).toEqual([
    { file: join(directory, "one.log") },
    { file: join(directory, "one.log") },
    { file: join(directory, "two.log") },
  ]);
  expect(usual("{app}.log", 'log = "stderr"\n').config?.apps[2]?.log).toBeUndefined();
  expect(usual("stderr").config?.apps[2]?.log).toBeUndefined();
  expect(usual("all.log").problems).toEqual([
    "log.applications: is 'all.log', neither journald nor a file with {app} in its name",
  ]);
  expect(usual("none/{app}.log").problems?.[0]).toMatch(/^log\.applications: is 'none\/one\.log'/);
  expect(usual("journald:/none").problems?.[0]).toContain("there is no socket '/none'");
});

const form = (log: string) => read(`[log]\n${log}\n${app}`);

test("the access log has one of our forms, or fields of one's own, not both", () => {
  expect(form("").config?.accessLog).toBe("common");
  expect(form('access_format = "{status}"').config?.accessLog).toEqual({ format: "{status}" });
  expect(form('access_fields = ["id"]').config?.accessLog).toEqual({ fields: ["id"] });
  expect(form('access = "json"\naccess_format = "{stat}"').problems).toEqual([
    "log.access_format: is given beside 'access': leave one out",
    expect.stringContaining("log.access_format: 'stat' is no field; there are time, "),
  ]);
});
