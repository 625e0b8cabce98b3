/**
 * Gateways of other users, as root finds them: which one a command goes to, and that nothing a
 * stranger puts where his gateway would be holds root's commands up or speaks for somebody else.
 */
import { afterEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { runtimeVariable } from "../../src/gateway/supervisor/runtime-directory.ts";
import { binaryPath, plainEnvironment } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gateways } from "../helpers/gateway.ts";
import { killIfThere } from "../helpers/processes.ts";
import { runBinary } from "../helpers/run-binary.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const testAsRoot = test.skipIf(process.geteuid?.() !== 0);
const [nobody, games] = [65_534, 5];

/** Runs a command as a user. */
function as(uid: number): string[] {
  return uid === 0 ? [] : ["setpriv", `--reuid=${uid}`, "--clear-groups"];
}

/** One where every user may have his place, as in /tmp. */
function runtime(): Readonly<Record<string, string>> {
  const base = temporaryDirectory();
  chmodSync(base, 0o1777);
  return { ...plainEnvironment, [runtimeVariable]: base };
}

type Environment = ReturnType<typeof runtime>;

/** @returns exit status, and what it said. */
async function command(env: Environment, ...args: string[]): Promise<[number | null, string]> {
  const { status, stdout, stderr } = await runBinary(args, { environment: env });
  return [status, stdout + stderr];
}

/** A gateway of a user, with an application `shop` and a name. */
async function serving(env: Environment, uid: number, name: string): Promise<Gateway> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "shop"));
  writeFileSync(
    join(directory, "shop/server.ts"),
    "export default { fetch: () => new Response() };\n",
  );
  const file = join(directory, "pool.toml");
  writeFileSync(
    file,
    `listen = ["127.0.0.1:0"]\nname = "${name}"\n[[apps]]\nroot = "shop"\ntype = "bun"\n`,
  );
  const gateway = startGateway(["--config", file], { environment: env, wrapper: as(uid) });
  await (await fetch(await gateway.address())).text();
  return gateway;
}

testAsRoot("root finds another user's gateway, says whose it is, and commands it", async () => {
  const env = runtime();
  const gateway = await serving(env, nobody, "theirs");
  const { pid } = gateway;
  const whose = `(gateway ${pid} of nobody)`;
  for (const which of [[], ["--name", "theirs"], ["--pid", String(pid)]]) {
    const [code, said] = await command(env, "status", ...which);
    expect([code, said.startsWith(`Gateway theirs ${pid} of nobody: `)], said).toEqual([0, true]);
  }
  expect(await command(env, "restart", "shop")).toEqual([0, `shop: restarted ${whose}\n`]);
  const [code, said] = await command(env, "restart", "shop", "--name", "main");
  expect([code, said.includes("no gateway main runs")], said).toEqual([1, true]);
  expect(await command(env, "stop", "--pid", String(pid))).toEqual([0, `stopped ${whose}\n`]);
  await gateway.ended;
});

testAsRoot("root's own goes first, and of others by one name none is taken", async () => {
  const env = runtime();
  const strangers = [await serving(env, nobody, "main"), await serving(env, games, "main")];
  const [code, said] = await command(env, "stop", "--name", "main");
  expect(code).toBe(2);
  for (const [at, user] of ["nobody", "games"].entries()) {
    expect(said).toContain(`${strangers[at]?.pid} main of ${user}`);
  }
  const own = await serving(env, 0, "main");
  for (const which of [[], ["--name", "main"]]) {
    expect(await command(env, "restart", "shop", ...which)).toEqual([0, "shop: restarted\n"]);
    expect((await command(env, "status", ...which))[1]).toStartWith(`Gateway main ${own.pid}: `);
  }
  // One that does not answer may be the one that is meant.
  own.signal("SIGSTOP");
  const silent = await command(env, "restart", "shop", "--name", "main");
  own.signal("SIGCONT");
  expect([silent[0], silent[1].includes(`gateway ${own.pid} runs, and does not`)]).toEqual([
    1,
    true,
  ]);
  const child = Bun.spawnSync([...as(nobody), binaryPath, "status"], { env });
  expect(child.stdout.toString()).toStartWith(`Gateway main ${strangers[0]?.pid}: `);
  for (const one of [...strangers, own]) await one.end();
});

const helpers: number[] = [];
afterEach(() => helpers.splice(0).forEach((pid) => killIfThere(pid)));

/** A program of a stranger's in Python, until it has made its `place` what it is to be. */
async function stranger({ [runtimeVariable]: base = "" }: Environment, text: string) {
  const place = join(base, `application-pool-${nobody}`);
  const whole = `
import json, os, socket, sys
place = ${JSON.stringify(place)}
os.makedirs(place, 0o700, exist_ok=True)
def listening(pid):
    one = socket.socket(socket.AF_UNIX)
    one.bind(f"{place}/{pid}.sock")
    one.listen(8)
    return one
${text}
print("made", flush=True)
sys.stdin.read()
`;
  const child = Bun.spawn([...as(nobody), "/usr/bin/python3", "-c", whole], {
    env: plainEnvironment,
    stdio: ["pipe", "pipe", "inherit"],
  });
  helpers.push(child.pid);
  let said = "";
  const decoder = new TextDecoder();
  void (async () => {
    for await (const chunk of child.stdout) said += decoder.decode(chunk);
  })();
  await until("it is made", () => said.includes("made"));
  return child;
}

/** What none of root's commands goes to, whatever it is called. */
const traps: Readonly<Record<string, string>> = {
  "a FIFO": 'os.mkfifo(f"{place}/{os.getpid()}.sock")',
  "a link to root's own": 'os.symlink(os.environ["TARGET"], f"{place}/{os.getpid()}.sock")',
  "a socket that another process listens on": `
end = os.pipe()
child = os.fork()
if child == 0:
    mine = listening(os.getppid())
    os.write(end[1], b"x")
    sys.stdin.read()
    os._exit(0)
os.read(end[0], 1)`,
  "a link in place of his directory": `
os.rename(place, place + ".moved")
listening_at = place
place += ".moved"
mine = listening(os.getpid())
os.symlink(place, listening_at)`,
  "a directory that others can enter": "mine = listening(os.getpid())\nos.chmod(place, 0o755)",
};

testAsRoot.each(Object.entries(traps))("%s is no gateway", async (_, text) => {
  const env = runtime();
  const own = await serving(env, 0, "main");
  const target = `${env[runtimeVariable]}/application-pool-0/${own.pid}.sock`;
  const child = await stranger(env, text.replace('os.environ["TARGET"]', JSON.stringify(target)));
  const [code, said] = await command(env, "status", "--pid", String(child.pid));
  expect([code, said.includes(`no gateway ${child.pid} runs`)], said).toEqual([1, true]);
  expect((await command(env, "status"))[1]).toStartWith(`Gateway main ${own.pid}: `);
  await own.end();
  expect((await command(env, "status"))[0]).toBe(1);
});

testAsRoot("one that accepts and is silent holds root up for its time alone", async () => {
  const env = runtime();
  const child = await stranger(env, "mine = listening(os.getpid())");
  // With another beside it, nobody can tell which of them is meant.
  const gateway = await serving(env, games, "main");
  const [code, said] = await command(env, "stop", "--name", "main");
  expect([code, said.includes(`${child.pid} (does not answer) of nobody`)], said).toEqual([
    2,
    true,
  ]);
  const pid = String(gateway.pid);
  expect((await command(env, "status", "--pid", pid))[1]).toStartWith(
    `Gateway main ${pid} of games`,
  );
  await gateway.end();
  const alone = await command(env, "status");
  const why = `gateway ${child.pid} of nobody runs, and does not answer within 5 s`;
  expect([alone[0], alone[1].includes(why)], alone[1]).toEqual([1, true]);
});

/** A gateway's status whose every text would move the terminal of who reads it. */
const evil = "\u001B]0;owned\u0007\u001B[2J\u009B2J\r";
const figures = `{"underWay": 0, "requestsPerSecond": 0, "p50Ms": None, "p99Ms": None}`;
const liar = `
import threading
evil = ${JSON.stringify(evil)}
status = {"name": "main" + evil, "pid": 1, "version": evil, "generation": 0,
  "failedSuccessor": None, "listening": [evil], "workers": [], "poolServer": None,
  "restarts": {evil: 1}, "processes": [],
  "applications": [{"name": "shop", "root": "/shop", "pause": None, "residentBytes": None,
    "figures": ${figures}}],
  "pool": {"limits": {"max": evil}, "count": 0, "active": 0, "spawning": 0, "leaving": 0,
    "waiting": 0, "applications": [{"root": "/shop", "spawns": [], "rollout": None,
      "waiting": 0, "pauseMs": None, "counters": {"restarts": 0},
      "lastSpawnError": {"message": evil, "agoMs": 1},
      "instances": [{"pid": "../tmp", "state": evil, "closing": 0}]}]}}
def serve(mine):
    while True:
        one, _ = mine.accept()
        asked = json.loads(one.makefile().readline())
        said = status if asked["command"] == "status" else {"error": "no" + evil}
        one.sendall(json.dumps(said).encode() + b"\\n")
        one.close()
threading.Thread(target=serve, args=(listening(os.getpid()),), daemon=True).start()
`;

testAsRoot("nothing that a stranger's gateway says is obeyed by a terminal", async () => {
  const env = runtime();
  const { pid } = await stranger(env, liar);
  for (const args of [["status"], ["status", "--json"], ["restart", "shop"]]) {
    const [code, said] = await command(env, ...args, "--pid", String(pid));
    expect(code).toBe(args[0] === "status" ? 0 : 1);
    // oxlint-disable-next-line no-control-regex -- control characters are what it is about
    expect(said).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F]/);
    expect(said).toMatch(/\\(x1b|u001b)\]0;owned/);
  }
});
