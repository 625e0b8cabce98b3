/**
 * Applications that may not read what they are made of, since they run as somebody else than who
 * has put it there: the log and the page name the file, the user, and what to do.
 */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { countDescriptors } from "../helpers/descriptors.ts";
import { until } from "../helpers/condition.ts";
import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const wsgi = { "wsgi.py": "import helper\nopen('data')\n", "helper.py": "", data: "" };
const rack = { "config.ru": "require_relative 'helper'\n", "helper.rb": "" };
const node = { "app.js": "require('./helper')", "helper.js": "" };
const bun = { "server.ts": "import './helper'", "helper.ts": "" };

/** Files, which of them only root may use, and keys of the table. */
const cases: readonly (readonly [Readonly<Record<string, string>>, string, string?])[] = [
  [wsgi, ""],
  [wsgi, "wsgi.py"],
  [wsgi, "helper.py"],
  [wsgi, "data"],
  [rack, "config.ru"],
  [{ ...rack, Gemfile: "" }, "Gemfile"],
  [rack, "helper.rb"],
  [node, "app.js"],
  [node, "helper.js"],
  [bun, "server.ts"],
  [bun, "helper.ts"],
  [{ ...wsgi, ".venv/pyvenv.cfg": "", ".venv/bin/python3": "" }, ".venv/bin/python3"],
  [{ ...rack, "own/bin/ruby": "" }, "own/bin/ruby", 'interpreter = "own"'],
  [{ ...node, "own/bin/node": "" }, "own", 'interpreter = "own"'],
  [{ ...wsgi, "var/.keep": "" }, "var", 'cwd = "var"'],
];

test("who may not read a file of its own is told which, as whom, and what to do", async () => {
  const directory = temporaryDirectory();
  const tables = cases.map(([files, closed, keys = ""], index) => {
    const root = join(directory, `app${index}`);
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    }
    chmodSync(join(root, closed), 0o600);
    return `[[apps]]\nroot = "app${index}"\nprefix = "/${index}"\n${keys}\n`;
  });
  const file = join(directory, "pool.toml");
  const top = 'listen = ["127.0.0.1:0"]\nenvironment = "development"\n';
  writeFileSync(file, `${top}${tables.join("")}`);
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  for (const [index, [, closed]] of cases.entries()) {
    const answer = await fetch(`${address}/${index}/`);
    const said = (await answer.text()).replace(/<dl>[^]*/, "");
    const name = closed === "own" ? "own/bin/node" : closed;
    expect(said).toContain(name === "" ? `app${index}` : name);
    expect(said).toContain("it runs as nobody: let that user have it (chmod, chown)");
    const line = await until("it is logged", () =>
      gateway.log.split("\n").find((one) => one.includes(`app${index} cause=`)),
    );
    expect(line).toContain("it runs as nobody: let that user have it (chmod, chown)");
  }
  await gateway.end();
});
