/** What one application may take of the pool, as the configuration file says it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import type { AppConfig } from "../../src/gateway/config.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

/** The one application of a file with these lines. */
function applicationOf(lines: string): AppConfig | undefined {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "shop"));
  writeFileSync(join(directory, "pool.toml"), `[[apps]]\nroot = "shop"\n${lines}`);
  return readServeArguments(["--config", join(directory, "pool.toml")]).readConfig().apps[0];
}

test("how processes share requests, and how visitors keep theirs, is said together", () => {
  expect(applicationOf("")).toMatchObject({ sticky: "off", options: { instances: undefined } });
  const one = applicationOf("instances = 0\nsticky = true");
  expect(one).toMatchObject({ options: { instances: 0 }, sticky: "cookie" });
  expect(applicationOf('sticky = "address"')).toMatchObject({ sticky: "address" });
  const all = applicationOf("sticky = false\ninstances = 4\nmax_instances = 4");
  expect(all).toMatchObject({ options: { instances: 4, maxInstances: 4 }, sticky: "off" });
  const refused = [
    ['sticky = "ip"', 'apps[0].sticky: is "ip", none of true, false, cookie, address'],
    ["sticky = 1", "apps[0].sticky: is 1, none of true, false, cookie, address"],
    ["instances = 4\nmax_instances = 3", "apps[0].instances: is 4, more than max_instances, 3"],
    ["instances = -1", "apps[0].instances: is -1, not a whole number from 0 to 100000"],
  ] as const;
  for (const [lines, why] of refused) expect(() => applicationOf(lines)).toThrow(why);
});

test("when processes are started ahead and replaced is said of each application", () => {
  const none = { minInstances: 0, maxRequests: 0, maxMemory: 0, hardMemory: 0, maxAgeMs: 0 };
  expect(applicationOf("")?.options).toMatchObject({ ...none, restartMode: "rolling" });
  const lines = [
    'min_instances = 2\nidle_time = "0s"\nmax_requests = 1000\nmax_age = "1d"',
    'max_memory = "300m"\nhard_memory = "1g"\nrestart_mode = "at-once"',
  ];
  expect(applicationOf(lines.join("\n"))?.options).toMatchObject({
    minInstances: 2,
    maxIdleMs: 0,
    maxRequests: 1000,
    maxAgeMs: 86_400_000,
    maxMemory: 300 * 2 ** 20,
    hardMemory: 2 ** 30,
    restartMode: "atOnce",
  });
  const refused = [
    ["min_instances = 3\nmax_instances = 2", "min_instances: is 3, and there may be 2"],
    ['max_memory = "2g"\nhard_memory = "1g"', "max_memory: is more than hard_memory"],
    ['max_memory = "512"', "max_memory: is less than 1m; 0 is no limit"],
    ["hard_memory = 1", "hard_memory: is less than 1m; 0 is no limit"],
    ['restart_mode = "slow"', 'restart_mode: is "slow", none of rolling, at-once'],
  ] as const;
  for (const [text, why] of refused) expect(() => applicationOf(text)).toThrow(why);
});

test("times whose 0 turns them off are turned off by the word, too; no other is", () => {
  const times = ["idle_time", "max_age", "abandon_timeout", "request_timeout", "slow_request"];
  const off = applicationOf(times.map((key) => `${key} = "off"`).join("\n"));
  expect(off).toMatchObject({
    options: { maxIdleMs: 0, maxAgeMs: 0, abandonTimeoutMs: 0, requestTimeoutMs: 0 },
  });
  expect(off).not.toHaveProperty("slowRequestMs");
  expect(() => applicationOf('max_age = "of"')).toThrow(/from 0s to .*, or "off"/);
  expect(() => applicationOf('spawn_timeout = "off"')).toThrow(
    /spawn_timeout: is "off", not a time/,
  );
});

test("a key that others have for one of ours is answered with ours", () => {
  expect(() => applicationOf("prestart = 2")).toThrow("prestart: is not known; is 'min_instances'");
  expect(() => applicationOf('memory_limit = "1g"')).toThrow("is 'max_memory' meant?");
});

test("what is asked before a process is ready is said of each application", () => {
  expect(applicationOf("")?.options).not.toHaveProperty("readyPath");
  expect(applicationOf('ready_path = "/up"\nready_timeout = "2s"')?.options).toMatchObject({
    readyPath: "/up",
    readyTimeoutMs: 2_000,
  });
  const refused = [
    ['ready_path = "up"', "ready_path: is 'up', not a path"],
    ['ready_path = "/a b"', "ready_path: is '/a b', not a path"],
    ['ready_timeout = "2s"', "ready_timeout: is for a 'ready_path'"],
  ] as const;
  for (const [text, why] of refused) expect(() => applicationOf(text)).toThrow(why);
});

test("what the kernel is to see to is said of each application", () => {
  const none = applicationOf("")?.options;
  const all = [none?.memoryMax, none?.cpuWeight, none?.tasksMax, none?.limits];
  expect(all.filter((limit) => limit !== undefined)).toEqual([]);
  const group = 'memory_max = "512m"\ncpu_weight = 50\ntasks_max = 300\n';
  const limits = `[apps.limits]
open_files = 1000
processes = "100:200"
core = 0
file_size = "64k:1g"
locked_memory = "unlimited"
address_space = "2g:unlimited"
cpu_time = "90s"
`;
  expect(applicationOf(group + limits)?.options).toMatchObject({
    memoryMax: 512 * 2 ** 20,
    cpuWeight: 50,
    tasksMax: 300,
    limits: {
      openFiles: [1000, 1000],
      processes: [100, 200],
      core: [0, 0],
      fileSize: [2 ** 16, 2 ** 30],
      lockedMemory: [-1, -1],
      addressSpace: [2 ** 31, -1],
      cpuTime: [90, 90],
    },
  });
  const refused = [
    ["memory_max = 512", "memory_max: is 512, not a size"],
    ["cpu_weight = 0", "cpu_weight: is 0, not a whole number from 1 to 10000"],
    ["tasks_max = 0", "tasks_max: is 0, not a whole number from 1 to"],
    ["[apps.limits]\nfiles = 3", "limits.files: is not known"],
    ["[apps.limits]\nopen_files = -1", "limits.open_files: is -1, not a limit such as 1024"],
    ['[apps.limits]\nopen_files = "9:8"', '"9:8": the soft limit is above the hard one'],
    ['[apps.limits]\nopen_files = "1:2:3"', 'open_files: is "1:2:3", not a limit'],
    ['[apps.limits]\nopen_files = "5:"', 'open_files: is "5:", not a limit'],
    ["[apps.limits]\nopen_files = [5]", "open_files: is a list, not a limit"],
    [`[apps.limits]\ncore = "${"a".repeat(99)}"`, '..., not a limit such as "0"'],
    ['[apps.limits]\ncpu_time = "60"', 'cpu_time: is "60", not a limit such as "10m"'],
    ['[apps.limits]\nfile_size = "unlimited:1g"', "the soft limit is above the hard one"],
  ] as const;
  for (const [text, why] of refused) expect(() => applicationOf(text)).toThrow(why);
});

test("what is about processes is refused where there are none", () => {
  const lines = `user = "nobody"|env_file = ".env"|instances = 2|min_instances = 1|threads = 2
max_memory = "1g"|memory_max = "1g"|cpu_weight = 50|tasks_max = 9|ready_path = "/up"
request_timeout = "1s"|slow_request = "1s"|log = "stderr"|sticky = true`.split(/[|\n]/);
  lines.push("[apps.limits]\nopen_files = 9", '[apps.env]\nA = "b"');
  for (const line of lines) {
    const [, key = ""] = /(\w+)\W*(=|$)/m.exec(line.replace("[apps.", "")) ?? [];
    const why = `apps[0].${key}: is for processes, and type static has none`;
    expect(() => applicationOf(`type = "static"\n${line}`)).toThrow(why);
    expect(() => applicationOf(line)).not.toThrow();
  }
  expect(applicationOf('type = "static"\nhosts = ["a.example"]')?.type).toBe("static");
});

test("an application has limits of its own, or those of the whole", () => {
  const directory = temporaryDirectory();
  for (const name of ["shop", "blog"]) mkdirSync(join(directory, name));
  const text = `
[pool]
max_queue = 100
[[apps]]
root = "shop"
abandon_timeout = "5s"
request_timeout = "1m"
max_queue = 7
weight = 3
[[apps]]
root = "blog"
prefix = "/blog"
`;
  writeFileSync(join(directory, "pool.toml"), text);
  const config = readServeArguments(["--config", join(directory, "pool.toml")]).readConfig();
  expect(config.apps.map(({ options }) => options)).toMatchObject([
    { abandonTimeoutMs: 5_000, requestTimeoutMs: 60_000, maxQueue: 7, weight: 3 },
    { abandonTimeoutMs: 30_000, requestTimeoutMs: 0, maxQueue: 100, weight: 1 },
  ]);
});
