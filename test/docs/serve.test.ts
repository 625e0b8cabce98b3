/** docs/serve.md against the command: the options it lists, and the configuration file it shows. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readServeArguments, serveCommand } from "../../src/cli/serve-options.ts";
import { ConfigurationError } from "../../src/cli/usage-error.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { blocksOf, readDocument, ROOT } from "./markdown.ts";

const temporaryDirectory = temporaryDirectories();
const text = readDocument("docs/serve.md");

test("the options are those of the command, with their defaults", () => {
  const rows = Array.from(
    text.matchAll(/^\| `--([\w-]+)` +\| (\S+) +\|/gm),
    ([, name = "", fallback = ""]) => `${name} ${fallback}`,
  );
  const real = Object.entries(serveCommand.args ?? {})
    .filter(([, { type }]) => type !== "positional")
    .map(([name, { description = "" }]) => {
      return `${name} ${/\(default (\S+)\)$/.exec(description)?.[1] ?? "none"}`;
    });
  expect(rows.toSorted()).toEqual(real.toSorted());
});

const shown = blocksOf(text).find(({ info }) => info === "toml")?.text ?? "";

test("nothing is wrong with the file that is shown but what is not on this machine", () => {
  const directory = temporaryDirectory();
  const file = join(directory, "pool.toml");
  mkdirSync(join(directory, "shop"));
  writeFileSync(file, shown.replace("/srv/shop", "shop"));
  try {
    readServeArguments(["--config", file]).readConfig();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(error.problems).toMatchObject(
      ["tls", "tls.certificates[0]"].flatMap((table) =>
        ["certificate_file", "key_file"].map((key) => expect.stringContaining(`${table}.${key}: `)),
      ),
    );
    return;
  }
  throw new Error("there is no certificate to be found");
});

test("every key of the configuration is described", () => {
  const sources = ["gateway-settings.ts", "app-settings.ts", "program-settings.ts"].map((name) =>
    readFileSync(join(ROOT, "src/cli", name), "utf8"),
  );
  const keys = sources.flatMap((source) =>
    Array.from(
      source.matchAll(
        /(?:\.(?:text|word|flag|whole|time|size|texts|tables?)\(|readText\(table,)\s*"(\w+)"/g,
      ),
      ([, key = ""]) => key,
    ),
  );
  expect(keys.length).toBeGreaterThan(30);
  const missing = keys.filter(
    (key) => !new RegExp(`^(# )?\\[*(apps\\.)?${key}\\b`, "m").test(shown),
  );
  expect(missing).toEqual([]);
});

test("what is shown as a default is the default", () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "shop"));
  const read = (toml: string) => {
    writeFileSync(join(directory, "pool.toml"), toml);
    return readServeArguments(["--config", join(directory, "pool.toml")]).readConfig();
  };
  const plain = read('[[apps]]\nroot = "shop"\n');
  const withoutTls = shown.replace(/\[tls\].*?(?=\[pool\])/s, "");
  const full = read(withoutTls.replace("/srv/shop", "shop"));
  const { listen: _, trustedProxies, accessLogFile, apps, ...rest } = full;
  expect(trustedProxies).toHaveLength(3);
  expect(accessLogFile).toBe(join(directory, "access.log"));
  expect(plain).toMatchObject(rest);
  const [app] = apps;
  const { hosts = [], options = {}, files = [], ...sameAsDefault } = app ?? {};
  expect([hosts.length, files.length]).toEqual([2, 2]);
  expect(plain.apps[0]).toMatchObject(sameAsDefault);
  const { env = {}, ...usual } = options;
  expect(Object.keys(env)).toHaveLength(1);
  expect(plain.apps[0]?.options).toMatchObject(usual);
});
