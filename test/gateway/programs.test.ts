/**
 * Applications whose files do not say by their names how they are started: the configuration does,
 * in all languages, and `serve` runs them so.
 */
import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { countDescriptors } from "../helpers/descriptors.ts";
import { gateways, type Gateway, type GatewayOptions } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** What each program tells of itself. */
interface Told {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly pwd: string;
  readonly umask: string;
  readonly variable: string | null;
}

const tellInPython = `
import json, os, sys
import helper
def tell(environ, start_response):
    mask = os.umask(0)
    os.umask(mask)
    start_response("200 OK", [("Content-Type", "application/json")])
    said = dict(args=sys.argv[1:], cwd=os.getcwd(), pwd=os.environ["PWD"], umask="%03o" % mask,
        variable=os.environ.get("TOLD"))
    return [json.dumps(said).encode()]
`;

const tellInRuby = `
require "json"
require_relative "../helper"
run ->(env) {
  said = { args: ARGV, cwd: Dir.pwd, pwd: ENV["PWD"], umask: "%03o" % File.umask,
    variable: ENV["TOLD"] }
  [200, { "content-type" => "application/json" }, [said.to_json]]
}
`;

const tellInJavaScript = `
import { createServer } from "node:http";
import "./helper.mjs";
const said = () => ({
  args: process.argv.slice(2), cwd: process.cwd(), pwd: process.env.PWD,
  umask: process.umask().toString(8).padStart(3, "0"), variable: process.env.TOLD ?? null,
});
createServer((request, response) => response.end(JSON.stringify(said()))).listen(3000);
`;

interface Program {
  readonly files: Readonly<Record<string, string>>;
  readonly keys: string;
}

const programs: Readonly<Record<string, Program>> = {
  "a module of Python, deep in a project": {
    files: {
      "site/__init__.py": "",
      "site/web.py": "from site2.deep import tell as application\n",
      "site2/deep.py": tellInPython,
      "helper.py": "",
    },
    keys: `app = "site2.deep:tell"`,
  },
  "a module of Python that makes its callable": {
    files: {
      "shop/__init__.py":
        "class Maker:\n  @staticmethod\n  def make():\n    return web.tell\n" +
        "from shop import web\n",
      "shop/web.py": tellInPython,
      "helper.py": "",
    },
    keys: `app = "shop:Maker.make()"`,
  },
  "a file of Python of another name, and its callable": {
    files: { "conf/radish.wsgi": tellInPython, "helper.py": "" },
    keys: `startup_file = "conf/radish.wsgi"\napp = ":tell"`,
  },
  "another rackup file": {
    files: { "config/api.ru": tellInRuby, "helper.rb": "" },
    keys: `app = "config/api.ru"`,
  },
  "a built program of Node": {
    files: { "dist/server/entry.mjs": tellInJavaScript, "dist/server/helper.mjs": "" },
    keys: `startup_file = "dist/server/entry.mjs"`,
  },
  "a program of Bun": {
    files: { "lib/web.ts": tellInJavaScript, "lib/helper.mjs": "" },
    keys: `startup_file = "lib/web.ts"`,
  },
};

function writeProgram(root: string, files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
}

/** Serves applications by their tables, with pages that say why one does not start. */
function serve(directory: string, apps: string, options?: GatewayOptions): Gateway {
  const file = join(directory, "pool.toml");
  writeFileSync(file, `listen = ["127.0.0.1:0"]\nenvironment = "development"\n${apps}`);
  return startGateway(["--config", file], options);
}

/** Serves the programs, each below a prefix of its own. @returns what each has said. */
async function told(directory: string, more: (root: string) => string): Promise<Told[]> {
  const apps = Object.values(programs).map(({ files, keys }, index) => {
    const root = join(directory, `app${index}`);
    writeProgram(root, files);
    return `[[apps]]\nroot = "app${index}"\nprefix = "/${index}"\n${keys}\n${more(root)}\n`;
  });
  const gateway = serve(directory, apps.join(""));
  const address = await gateway.address();
  const answers = await Promise.all(
    apps.map(async (_, index) => {
      const answer = await fetch(`${address}/${index}/`);
      const text = await answer.text();
      expect(`${answer.status} ${answer.ok ? "" : text}`).toBe("200 ");
      return JSON.parse(text) as Told;
    }),
  );
  await gateway.end();
  return answers;
}

const names = Object.keys(programs);

test("what is named is started: a module, a file, anywhere in the project", async () => {
  const directory = temporaryDirectory();
  const answers = await told(directory, () => "");
  expect(answers.map(({ args, cwd, pwd, variable }) => ({ args, cwd, pwd, variable }))).toEqual(
    names.map((_, index) => {
      const root = join(directory, `app${index}`);
      return { args: [], cwd: root, pwd: root, variable: null };
    }),
  );
});

test("arguments, working directory, umask and a file of variables are theirs", async () => {
  const directory = temporaryDirectory();
  const answers = await told(directory, (root) => {
    writeProgram(root, { "var/.keep": "", "var/env": "\uFEFFexport TOLD='by file' # x\n" });
    return `args = ["--one", "", "-- two"]\ncwd = "var"\numask = "0027"\nenv_file = "var/env"`;
  });
  expect(answers).toEqual(
    names.map((_, index) => {
      const cwd = join(directory, `app${index}`, "var");
      return { args: ["--one", "", "-- two"], cwd, pwd: cwd, umask: "027", variable: "by file" };
    }),
  );
});

/** Serves one program by the keys of its table. @returns the answer's text. */
async function answerOf(directory: string, keys: string): Promise<string> {
  const gateway = serve(directory, `[[apps]]\n${keys}\n`);
  const text = await (await fetch(`${await gateway.address()}/`)).text();
  await gateway.end();
  return text;
}

test("PWD is the root as it is configured, a release's link too", async () => {
  const directory = temporaryDirectory();
  writeProgram(join(directory, "release"), { "wsgi.py": tellInPython, "helper.py": "" });
  symlinkSync("release", join(directory, "current"));
  const said = JSON.parse(await answerOf(directory, 'root = "current"\napp = "wsgi:tell"')) as Told;
  expect(said).toMatchObject({
    cwd: join(directory, "release"),
    pwd: join(directory, "current"),
  });
});

const python = "def application(environ, start_response):\n  start_response('200 OK', [])\n";
const ruby = `run ->(_) { [200, {}, [File.readlink("/proc/self/exe"), " ", ENV["TOLD"].to_s]] }`;

test.each(["env", "/env"])("the interpreter is the virtual environment %s", async (env) => {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  const text = `import sys\n${python}  return [sys.prefix.encode()]\n`;
  writeProgram(root, { "wsgi.py": text, ".venv/pyvenv.cfg": "" });
  Bun.spawnSync(["/usr/bin/python3", "-m", "venv", "--without-pip", join(root, "env")]);
  const interpreter = env.startsWith("/") ? `${root}${env}` : env;
  const keys = `root = "app"\ninterpreter = "${interpreter}"`;
  expect(await answerOf(directory, keys)).toBe(join(root, "env"));
});

test("the interpreter that is named is the one, whatever virtual environment there is", async () => {
  const directory = temporaryDirectory();
  const text = `import sys\n${python}  return [sys.prefix.encode()]\n`;
  writeProgram(join(directory, "app"), { "wsgi.py": text, ".venv/pyvenv.cfg": "" });
  const keys = 'root = "app"\ninterpreter = "/usr/bin/python3"';
  expect(await answerOf(directory, keys)).toBe("/usr");
});

test.each([
  ["config.ru", ruby, "ruby"],
  [
    "app.js",
    `require("http").createServer((_, r) => r.end("it is " + process.env.TOLD)).listen(1)`,
    "node",
  ],
] as const)("the interpreter of %s is a program, or in a directory", async (file, source, name) => {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  writeProgram(root, { [file]: source, "own/bin/.keep": "" });
  const program = join(root, "own/bin", name);
  // A program of its own, so that it can be told from the system's.
  const text = `#!/bin/sh\nTOLD=own exec /usr/bin/env ${name} "$@"\n`;
  writeFileSync(program, text, { mode: 0o755 });
  for (const interpreter of ["own", `own/bin/${name}`, program]) {
    const keys = `root = "app"\ninterpreter = "${interpreter}"`;
    expect(await answerOf(directory, keys)).toEndWith(" own");
  }
});

const refusals: readonly (readonly [string, string])[] = [
  ['startup_file = "gone.py"', "its startup file 'gone.py' cannot be used: there is none"],
  ['startup_file = "x.pl"', "its startup file 'x.pl' does not say what runs it: set type"],
  ['app = "a b"', "its app 'a b' is not of the form module:callable"],
  ['app = "web"\ntype = "node"', "its app 'web' is for Python, and its type is node"],
  ['app = "web:gone"', "web has no `gone`, which `app` names"],
  ['app = "web:number"', "`number` in web cannot be called: it is a int"],
  ['app = "gone.web"', "No module named 'gone'"],
  ['app = "web"\ncwd = "gone"', "its cwd 'gone' cannot be used: there is none"],
  ['app = "web"\ninterpreter = "./gone"', "its interpreter './gone' cannot be used"],
  ['app = "web"\ninterpreter = "empty"', "the directory has no bin/python3"],
  ['app = "web"\nenv_file = "gone"', "its env_file 'gone' cannot be used: there is none"],
  ['app = "web"\nenv_file = ".env"', "its env_file, .env:3: neither NAME=value"],
];

test("what is named wrongly is refused with a page that says why", async () => {
  const directory = temporaryDirectory();
  const apps = refusals.map(([keys], index) => {
    writeProgram(join(directory, `app${index}`), {
      "web.py": "number = 1\napplication = print\n",
      "x.pl": "",
      "empty/.keep": "",
      ".env": "A=1\n\nsecret words\n",
    });
    return `[[apps]]\nroot = "app${index}"\nprefix = "/${index}"\n${keys}\n`;
  });
  const gateway = serve(directory, apps.join(""));
  const address = await gateway.address();
  for (const [index, [keys, why]] of refusals.entries()) {
    const page = await (await fetch(`${address}/${index}/`)).text();
    expect(`${keys}: ${page.replaceAll("&#x27;", "'")}`).toContain(why);
    expect(page).not.toContain("secret");
  }
  await gateway.end();
});

/** How the server is started in it, and what is said to a program that misses something then. */
const surroundings: readonly (readonly [string, string, string])[] = [
  ["a virtual environment", '. "$OTHER/env/bin/activate"; exec "$0" "$@"', "set interpreter if"],
  ["a bundle", 'cd "$OTHER"; exec bundle exec "$0" "$@"', "No module named 'gone_for_ever'"],
];

test.each(surroundings)(
  "%s around the server is nobody's but its own",
  async (_, command, advice) => {
    const directory = temporaryDirectory();
    const other = join(directory, "other");
    writeProgram(directory, {
      "other/Gemfile": "",
      "py/wsgi.py": `import os, sys\n${python}  return [(sys.prefix + str(os.environ)).encode()]\n`,
      "lost/wsgi.py": "import gone_for_ever\n",
      "rb/config.ru":
        "run ->(_) { [200, {}, [$LOADED_FEATURES.grep(/bundler/).inspect, ENV.inspect]] }",
    });
    Bun.spawnSync(["/usr/bin/python3", "-m", "venv", "--without-pip", join(other, "env")]);
    const apps = ["lost", "py", "rb"];
    const tables = apps.map((name) => `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n`);
    const gateway = serve(directory, tables.join(""), {
      wrapper: ["/bin/sh", "-c", command],
      environment: { OTHER: other, PATH: "/usr/bin:/bin" },
    });
    const address = await gateway.address();
    const [lost = "", ...said] = await Promise.all(
      apps.map(async (name) => (await fetch(`${address}/${name}/`)).text()),
    );
    expect(lost.replaceAll("&#x27;", "'")).toContain(advice);
    expect(said[0]).toStartWith("/usr");
    expect(said[1]).toStartWith("[]");
    const left = said.join("").replaceAll(/.OTHER..{2,4}[^ ,]+/g, "");
    expect(left).not.toContain(other);
    expect(left).not.toMatch(/BUNDLE|VIRTUAL_ENV|RUBYOPT/);
    await gateway.end();
  },
);
