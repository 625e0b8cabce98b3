/** What `serve` is told, by its command line or a file: what comes of it, or why it is refused. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { ConfigurationError, UsageError } from "../../src/cli/usage-error.ts";
import type { GatewayConfig } from "../../src/gateway/config.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

/** A directory with a file `pool.toml` and the applications `one` and `two`. */
function withFile(text: string | Uint8Array): string {
  const directory = temporaryDirectory();
  for (const name of ["one", "two"]) mkdirSync(join(directory, name));
  writeFileSync(join(directory, "pool.toml"), text);
  return directory;
}

function read(...args: string[]): GatewayConfig {
  return readServeArguments(args).readConfig();
}

/** The problems of a file, without its path in front. */
function problemsOf(text: string | Uint8Array, ...more: string[]): string[] {
  const path = join(withFile(text), "pool.toml");
  try {
    read("--config", path, ...more);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.problems.map((problem) => problem.replaceAll(path, "pool.toml"));
  }
  return [];
}

const words = (text: string): string[] => text.split(" ");

const whole = { abandonTimeoutMs: 30_000, requestTimeoutMs: 0, upgradedTimeMs: 60_000 };
const times = { spawnTimeoutMs: 90_000, ...whole };
const nothing = { tls: undefined, admin: undefined, accessLogFile: undefined };
const usual = { maxInstances: 0, maxQueue: 0, weight: 1, restartMode: "rolling", ...times };

test("a directory alone: one application, with every default", () => {
  const root = join(withFile(""), "one");
  expect(read(root)).toEqual({
    name: "",
    listen: [{ kind: "tcp", host: "127.0.0.1", port: 8080, tls: false }],
    ...nothing,
    workers: 1,
    workerUser: process.geteuid?.() === 0 ? "www-data" : undefined,
    apps: [
      {
        name: "one",
        root,
        hosts: [],
        prefix: "/",
        type: "auto",
        environment: "production",
        spawnMethod: "smart",
        options: expect.objectContaining({ env: {}, ...usual }) as object,
        sticky: "off",
        files: [{ path: "/", directory: join(root, "public"), within: root }],
        bufferRequests: true,
        bufferAnswers: true,
        showErrors: false,
      },
    ],
    limits: {
      maxHeaderBytes: 16 * 1024,
      maxBodyBytes: 0,
      headMs: 30_000,
      idleMs: 60_000,
      queueMs: 60_000,
      responseMs: 0,
    },
    pool: { max: 20, maxPerApp: 0, maxIdleSeconds: 120, maxQueue: 0, globalQueue: true },
    trustedProxies: [],
    accessLog: "common",
    drainMs: 30_000,
    silenceMs: 10_000,
    upgradedMs: 60_000,
    logLevel: 0,
    logFormat: "text",
  });
});

test("options: addresses, numbers, words and times", () => {
  const root = join(withFile(""), "one");
  const config = read(
    root,
    ...words("--listen [::1]:80 --listen=unix:/run/x --listen *:0 --workers 3 --max=7"),
    ...words("--environment development --type bun --drain-time 1.5s"),
    ...words("--max-idle-time 5m --access-log off --admin 9100"),
  );
  expect(config).toMatchObject({
    listen: [
      { kind: "tcp", host: "::1", port: 80 },
      { kind: "unix", path: "/run/x", mode: 0o660 },
      { kind: "tcp", host: "0.0.0.0", port: 0 },
    ],
    workers: 3,
    pool: { max: 7, maxIdleSeconds: 300 },
    drainMs: 1500,
    accessLog: "off",
    admin: { kind: "tcp", host: "127.0.0.1", port: 9100 },
    apps: [{ type: "bun", environment: "development", showErrors: true }],
  });
});

const wholeFile = `
listen = ["127.0.0.1:8080", "unix:run/http.sock"]
unix_mode = "0600"
workers = 2
environment = "staging"
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
drain_time = "1m"
upgraded_time = "2m"
[pool]
max = 10
max_per_app = 4
max_idle_time = "1h"
max_queue = 100
global_queue = false
[limits]
max_header_size = "32k"
max_body_size = "10m"
head_time = "5s"
idle_time = "20s"
queue_time = "500ms"
response_time = "2m"
[log]
level = 2
format = "json"
access = "json"
access_file = "log/access.log"
[[apps]]
name = "shop"
root = "one"
hosts = ["Shop.example.com", "*.shop.example.com"]
prefix = "/"
max_instances = 3
concurrency = 5
spawn_timeout = "30s"
spawn_method = "conservative"
static_files = false
request_timeout = "9s"
buffer_requests = false
buffer_answers = false
show_errors = true
env = { KEY = "value" }
[[apps]]
root = "two"
hosts = ["shop.example.com"]
prefix = "/two"
type = "bun"
environment = "production"
user = "nobody"
`;
test("a file: every key, paths relative to where it lies", () => {
  const directory = withFile(wholeFile);
  const config = read("--config", join(directory, "pool.toml"));
  expect(config).toMatchObject({
    listen: [
      { kind: "tcp", host: "127.0.0.1", port: 8080 },
      { kind: "unix", path: join(directory, "run/http.sock"), mode: 0o600 },
    ],
    workers: 2,
    trustedProxies: ["127.0.0.1", "10.0.0.0/8", "fd00::/8"],
    drainMs: 60_000,
    upgradedMs: 120_000,
    pool: { max: 10, maxPerApp: 4, maxIdleSeconds: 3600, maxQueue: 100, globalQueue: false },
    limits: {
      maxHeaderBytes: 32 * 1024,
      maxBodyBytes: 10 * 1024 * 1024,
      headMs: 5_000,
      idleMs: 20_000,
      queueMs: 500,
      responseMs: 120_000,
    },
    logLevel: 2,
    logFormat: "json",
    accessLog: "json",
    accessLogFile: join(directory, "log/access.log"),
  });
  const [shop, two] = config.apps;
  const limits = { spawnTimeoutMs: 30_000, requestTimeoutMs: 9_000 };
  expect(shop).toMatchObject({
    name: "shop",
    root: join(directory, "one"),
    hosts: ["shop.example.com", "*.shop.example.com"],
    environment: "staging",
    spawnMethod: "conservative",
    options: { maxInstances: 3, concurrency: 5, env: { KEY: "value" }, ...limits },
    files: [],
    bufferRequests: false,
    bufferAnswers: false,
    showErrors: true,
  });
  expect(two).toMatchObject({ name: "two", prefix: "/two", type: "bun" });
  expect(two?.options.user).toBe("nobody");
});

test("one root may be served twice, with the same processes", () => {
  expect(problemsOf(`${app}prefix = "/a"\n${app}name = "b"\nprefix = "/b"\n`)).toEqual([]);
});

test("beside a file, the command line wins; the rest of a table stays", () => {
  const path = join(withFile(wholeFile), "pool.toml");
  const config = read("--config", path, "--workers", "5", "--max", "99", "--listen", "*:81");
  expect(config).toMatchObject({
    workers: 5,
    pool: { max: 99, maxPerApp: 4 },
    listen: [{ host: "0.0.0.0", port: 81 }],
  });
});

const app = '[[apps]]\nroot = "one"\n';

/** A file, and the problems that have to be found in it: all of them, and nothing else. */
const badFiles: [string, string, string[]][] = [
  ["syntax", "listen = = 1", ["pool.toml:1: Expected a value but found '='"]],
  ["syntax, further down", `${app}\nx = [\n  1,\n  oops\n]`, ["pool.toml:6: "]],
  ["a key twice", `workers = 1\n\nworkers = 2\n${app}`, ["pool.toml:3: Cannot redefine key"]],
  ["nothing in it", "", ["pool.toml: apps: is missing: there is no application"]],
  [
    "unknown keys",
    `lisen = []\n${app}[pool]\nmax_idel_time = "1s"\n[zebra]\n`,
    [
      "pool.toml: pool.max_idel_time: is not known; is 'max_idle_time' meant?",
      "pool.toml: lisen: is not known; is 'listen' meant?",
      "pool.toml: zebra: is not known",
    ],
  ],
  [
    "wrong types",
    `workers = "2"\nlisten = "127.0.0.1:1"\npool = 3\n${app}env = { A = 1 }\nhosts = [5]\n`,
    [
      'workers: is "2", not a whole number from 1 to 256',
      'listen: is "127.0.0.1:1", not a list of texts',
      "pool: is 3, not a table",
      "apps[0].hosts: holds 5, which is not a text",
      "apps[0].env.A: is 1, not a text",
    ],
  ],
  [
    "out of bounds",
    `workers = 0\ndrain_time = "2h"\n${app}[pool]\nmax = 0\n[limits]\nidle_time = "25h"\n`,
    [
      "workers: is 0, not a whole number from 1 to 256",
      'limits.idle_time: is "25h", not a time such as "10s" or "500ms", from 0s to ',
      "pool.max: is 0, not a whole number from 1 to 100000",
      'drain_time: is "2h", not a time',
    ],
  ],
  [
    "units",
    `drain_time = 30\n${app}[limits]\nmax_body_size = "10x"\nqueue_time = "10"\n`,
    [
      'limits.max_body_size: is "10x", not a size such as "64k" or "10m", from 0 to 1024g',
      'limits.queue_time: is "10", not a time such as "10s" or "500ms", from 0s to 1h, or "off"',
      'drain_time: is 30, not a time such as "10s" or "500ms", from 0s to 1h',
    ],
  ],
  [
    "addresses",
    `listen = ["8 8", "example.com:80", "1.2.3.4:99999", "::1:80", "unix:", "*:1", "*:1"]\n${app}`,
    [
      "listen: '8 8' is neither PORT, HOST:PORT nor unix:PATH",
      "listen: 'example.com:80': 'example.com' is no IP address in numbers",
      "listen: '1.2.3.4:99999': there is no port 99999",
      "listen: '::1:80' is neither PORT, HOST:PORT nor unix:PATH (an IPv6 address needs brackets)",
      "listen: 'unix:' needs a path",
      "listen: '*:1' is given twice",
    ],
  ],
  ["a user", `worker_user = "no-such"\n${app}`, ["worker_user: 'no-such' is not known"]],
  ["a long socket path", `listen = ["unix:/${"x".repeat(107)}"]\n${app}`, ["has 108 bytes, 107"]],
  [
    "permissions",
    `unix_mode = "rw"\n${app}`,
    [`unix_mode: is 'rw', not permissions such as "0660"`],
  ],
  [
    "proxies",
    `trusted_proxies = ["10.0.0.0/40", "here"]\n${app}`,
    ["trusted_proxies: trusted proxy '10.0.0.0/40'", "trusted_proxies: trusted proxy 'here'"],
  ],
  [
    "a root that is not there",
    '[[apps]]\nroot = "three"\n',
    ["apps[0].root: '…three' does not exist"],
  ],
  ["a root that is a file", '[[apps]]\nroot = "pool.toml"\n', ["pool.toml' is no directory"]],
  ["no root", "[[apps]]\nhosts = []\n", ["apps[0].root: is missing", "hosts: is an empty list"]],
  ["no applications", "apps = []\n", ["apps: is a list, not a list of tables"]],
  ["no address", `listen = []\n${app}`, ["listen: is an empty list: name one, or leave it out"]],
  ["one table for many", "[apps]\n", ["apps: is a table, not a list of tables: write [[apps]]"]],
  [
    "an application's words",
    `${app}type = "php"\nspawn_method = "fast"\nuser = "no-such-user"\nenvironment = "a b"\n`,
    [
      "apps[0].environment: is 'a b', not a name such as production",
      "apps[0].user: 'no-such-user' is not known on this system",
      'apps[0].type: is "php", none of auto, rack, wsgi, asgi, node, bun, command, static, rails',
      'apps[0].spawn_method: is "fast", none of smart, conservative',
    ],
  ],
  [
    "hosts and prefixes",
    `${app}hosts = ["a b", "www.*.com", "h:80"]\nprefix = "shop/"\n`,
    ["hosts: 'a b'", "hosts: 'www.*.com'", "hosts: 'h:80'", "prefix: 'shop/' must begin with /"],
  ],
  [
    "names and routes twice",
    `${app}name = "a"\nhosts = ["x.org"]\n[[apps]]\nroot = "two"\nname = "a"\nhosts = ["X.org"]\n`,
    [
      "apps[1].name: 'a' is the name of apps[0] too",
      "apps[1].hosts: host x.org, prefix /: apps[0] has it too",
    ],
  ],
  [
    "one root with different processes",
    `${app}prefix = "/a"\n${app}name = "b"\nprefix = "/b"\nconcurrency = 1\n`,
    ["apps[1].root: apps[0] has it too, but other settings for its processes"],
  ],
  [
    "TLS without a key",
    `${app}[tls]\nlisten = ["*:443"]\ncertificate_file = "no.pem"\n`,
    ["tls.key_file: is missing"],
  ],
  [
    "TLS files that are not there",
    `${app}[tls]\nlisten = ["*:443"]\ncertificate_file = "no.pem"\nkey_file = "no.key"\n`,
    ["tls.certificate_file: '…no.pem' cannot be read", "tls.key_file: '…no.key' cannot be read"],
  ],
  [
    "TLS files that are none",
    `${app}[tls]\nlisten = ["*:443"]\ncertificate_file = "pool.toml"\nkey_file = "pool.toml"\n`,
    ["tls.certificate_file: 'pool…no certificate", "tls.key_file: 'pool…no private key in PEM"],
  ],
  [
    "certificates that are incomplete, and hosts that two of them name",
    `${app}[tls]\nlisten = ["*:443"]\nhsts_subdomains = true\n` +
      `[[tls.certificates]]\nhosts = ["A.example"]\nkey_file = "no.key"\n` +
      `[[tls.certificates]]\nhosts = ["a.example", "-"]\ncertificate_file = "no.pem"\nkey = 1\n`,
    [
      "tls.certificates[0].certificate_file: is missing",
      "tls.certificates[1].hosts: a.example: tls.certificates[0].hosts has it too",
      "tls.certificates[1].hosts: '-' is no host name",
      "tls.certificates[1].key_file: is missing",
      "tls.certificates[1].key: is not known",
      "tls.hsts_subdomains: says nothing without hsts",
    ],
  ],
];

test.each(badFiles)("refused with all reasons: %s", (_, text, expected) => {
  const problems = problemsOf(text);
  const rest = expected.filter((why) => {
    const at = problems.findIndex((problem) => why.split("…").every((p) => problem.includes(p)));
    if (at >= 0) problems.splice(at, 1);
    return at < 0;
  });
  expect({ unexpected: problems, missing: rest }).toEqual({ unexpected: [], missing: [] });
});

test("a file that is not there, not UTF-8, or too large, is one problem", () => {
  expect(() => read("--config", "/nonexistent.toml")).toThrow(
    "/nonexistent.toml: cannot be read: ENOENT",
  );
  expect(problemsOf(new Uint8Array([0x61, 0xff]))).toEqual(["pool.toml: it is not UTF-8"]);
  expect(problemsOf("#".repeat(1024 * 1024 + 1))[0]).toContain("1048576 are possible");
});

test("what an option gives is blamed on the option", () => {
  expect(problemsOf(app, "--max", "lots", "--listen", "nowhere", "--type", "php")).toEqual([
    "--listen: 'nowhere' is neither PORT, HOST:PORT nor unix:PATH (an IPv6 address needs brackets)",
    '--max: is "lots", not a whole number from 1 to 100000',
    '--type: is "php", none of auto, rack, wsgi, asgi, node, bun, command, static, rails',
  ]);
});

const badLines: [string[], string][] = [
  [[], "no application: give a directory, or a file with --config"],
  [["one", "two"], "unexpected argument 'two'"],
  [["one", "--config", "x"], "both 'one' and --config are given"],
  [["one", "--wokers", "2"], "unknown option '--wokers'; is '--workers' meant?"],
  [["one", "--workers"], "option '--workers' needs a value"],
  [["one", "--workers", "2", "--workers", "3"], "option '--workers' is given twice"],
  [["one", "--check=yes"], "option '--check' takes no value"],
];

test.each(badLines)("the command line %j is a mistake", (args, why) => {
  expect(() => readServeArguments(args)).toThrow(UsageError);
  expect(() => readServeArguments(args)).toThrow(why);
});
