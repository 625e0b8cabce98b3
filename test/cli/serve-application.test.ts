/** The command line of `serve DIRECTORY`: where it listens, and what it says of the application. */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { ConfigurationError, UsageError } from "../../src/cli/usage-error.ts";
import { binaryPath, plainEnvironment } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const words = (text: string): string[] => text.split(" ");

const addresses: readonly (readonly [string, string, number])[] = [
  ["--listen 8080", "127.0.0.1", 8080],
  ["--listen :8080", "127.0.0.1", 8080],
  ["--listen *:80", "0.0.0.0", 80],
  ["--port 81", "127.0.0.1", 81],
  ["--host 0.0.0.0", "0.0.0.0", 8080],
  ["--host localhost --port 0", "127.0.0.1", 0],
  ["--host ::1 --port 82", "::1", 82],
  ["--host [::] --port 82", "::", 82],
];

test.each(addresses)("%s is the address %s, port %d", (text, host, port) => {
  const config = readServeArguments([temporaryDirectory(), ...words(text)]).readConfig();
  expect(config.listen).toEqual([{ kind: "tcp", host, port, tls: false }]);
});

test("an address that is none is blamed on the option that says it", () => {
  const root = temporaryDirectory();
  const read = (option: string, text: string) =>
    readServeArguments([root, option, text]).readConfig();
  expect(() => read("--port", "http")).toThrow("--port: '127.0.0.1:http' is neither");
  expect(() => read("--host", "here")).toThrow("--host: 'here:8080': 'here' is no IP");
});

const mistakes: [string[], string][] = [
  [["one", "--env", "A"], "--env is 'A', not NAME=VALUE"],
  [["--config", "x", "--user", "y"], "--user is about one application: with --config say it in"],
  [["one", "--listen", "1", "--port", "2"], "--listen says the address: leave --host and --port"],
];

test.each(mistakes)("the command line %j is a mistake", (args, why) => {
  expect(() => readServeArguments(args)).toThrow(UsageError);
  expect(() => readServeArguments(args)).toThrow(why);
});

test("options say of the application what its table would", () => {
  const root = temporaryDirectory();
  const { apps } = readServeArguments([
    root,
    ...words("--prefix /shop --user nobody --app shop.web:app"),
    ...words("--env A=1=2 --env=B= --env-file some/env --interpreter ./env"),
  ]).readConfig();
  expect(apps).toMatchObject([
    {
      prefix: "/shop",
      options: {
        user: "nobody",
        env: { A: "1=2", B: "" },
        app: "shop.web:app",
        envFile: join(process.cwd(), "some/env"),
        interpreter: join(process.cwd(), "env"),
      },
    },
  ]);
  const { apps: others } = readServeArguments([
    root,
    ...words(`--startup-file ${root}/web/start.js --interpreter node22`),
  ]).readConfig();
  expect(others[0]?.options).toMatchObject({ startupFile: "web/start.js", interpreter: "node22" });
});

test("a directory with blanks in its name is served, and called without them", () => {
  const root = join(temporaryDirectory(), "my \u00a0 site");
  mkdirSync(root);
  const { apps } = readServeArguments([root]).readConfig();
  expect(apps).toMatchObject([{ root, name: "my-site" }]);
});

test("what is wrong with the application is blamed on the option", () => {
  const read = readServeArguments([
    temporaryDirectory(),
    ...words("--prefix shop --user nobodys --startup-file ../x.js"),
  ]);
  try {
    read.readConfig();
    throw new Error("it was read");
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(error.problems).toEqual([
      "--startup-file: '../x.js' is not below the root",
      "--prefix: 'shop' must begin with / and not end with one, as in '/shop'",
      "--user: 'nobodys' is not known on this system",
    ]);
  }
});

test("`serve .` in a release's link serves what the link leads to at each restart", async () => {
  const directory = realpathSync(temporaryDirectory());
  for (const name of ["first", "second"]) {
    mkdirSync(join(writeApplication(directory, name), "tmp"));
  }
  symlinkSync("first", join(directory, "current"));
  const command = `cd ${directory}/current && exec "$0" "$@"`;
  const gateway = startGateway([".", "--port", "0"], { wrapper: ["/bin/sh", "-c", command] });
  const address = await gateway.address();
  const answer = async () => (await fetch(address)).text();
  expect(await answer()).toStartWith("first / ");
  rmSync(join(directory, "current"));
  symlinkSync("second", join(directory, "current"));
  writeFileSync(join(directory, "second/tmp/restart.txt"), "");
  await until("the second answers", async () => (await answer()).startsWith("second / "));
  const started = `notice application started app=${directory}/current pid=`;
  await until("both starts are in the log", () => gateway.log.split(started).length === 3);
  await gateway.end();
});

test("one root of several that is gone is a warning, and served when it comes", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory, "here");
  const file = join(directory, "pool.toml");
  const tables = ["here", "late"].map((name) => `[[apps]]\nroot = "${name}"\nprefix = "/${name}"`);
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n${tables.join("\n")}`);
  const check = Bun.spawnSync([binaryPath, "serve", "--config", file, "--check"], {
    env: plainEnvironment,
  });
  expect(check.exitCode).toBe(0);
  expect(check.stderr.toString()).toContain("late' cannot be used: there is none");
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  expect((await fetch(`${address}/late/x`)).status).toBe(500);
  expect(await (await fetch(`${address}/here/x`)).text()).toStartWith("here /here/x ");
  await gateway.logged("warning application cannot be started app=late");
  writeApplication(directory, "late");
  const answer = async () => (await fetch(`${address}/late/x`)).text();
  expect(await answer()).toStartWith("late /late/x ");
  await gateway.end();
});

test("none of its roots is there: refused", () => {
  const file = join(temporaryDirectory(), "pool.toml");
  writeFileSync(file, '[[apps]]\nroot = "a"\n[[apps]]\nroot = "b"\nprefix = "/b"\n');
  const read = readServeArguments(["--config", file]);
  expect(() => read.readConfig()).toThrow(/apps\[0\].root: .*apps\[1\].root: .* does not exist/);
});

/** What `--check` warns of, as root or as who is nobody. */
function warnings(lines: string, prepare: (root: string) => void = () => {}, uid?: number): string {
  const directory = temporaryDirectory();
  const root = writeApplication(directory);
  prepare(root);
  writeFileSync(join(directory, "pool.toml"), `[[apps]]\nroot = "${root}"\n${lines}`);
  chmodSync(directory, 0o755);
  const check = spawnSync(binaryPath, ["serve", "--config", `${directory}/pool.toml`, "--check"], {
    env: plainEnvironment,
    ...(uid !== undefined && { uid }),
  });
  expect(check.status).toBe(0);
  return check.stderr.toString();
}

test("a working directory that nobody can enter is a warning", () => {
  expect(warnings('cwd = "var"\n')).toContain("its cwd 'var' cannot be used: there is none");
  expect(warnings('cwd = "server.ts"\n')).toContain("its cwd 'server.ts' cannot be used: it is no");
  expect(warnings('cwd = "var"\n', (root) => mkdirSync(join(root, "var")))).toBe("");
});

/** Its startup file is user 1's, the rest his who is named. */
const give = (owner: number) => (root: string) => {
  chownSync(join(root, "server.ts"), 1, 1);
  chownSync(root, owner, owner);
};

test.skipIf(process.geteuid?.() !== 0)("files that are mixed with another's are a warning", () => {
  expect(warnings("", give(2))).toMatch(/application cannot be started .* what it is run from/);
  expect(warnings("", give(0))).toBe("");
});

test.skipIf(process.geteuid?.() !== 0)("a user whom only root could run it as is a warning", () => {
  expect(warnings('user = "daemon"\n', undefined, 65_534)).toContain(
    'user not taken app=app user=daemon cause="serve is not root"',
  );
  expect(warnings('user = "nobody"\n', undefined, 65_534)).toBe("");
  expect(warnings('user = "daemon"\n')).toBe("");
});
