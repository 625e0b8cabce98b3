/**
 * What the kernel keeps by control groups (memory_max, cpu_weight, tasks_max), in a machine of its
 * own: `serve` as root and as somebody to whom a group was delegated, and where there is nothing.
 *
 * Runs alone: the emulator has a use for both processors.
 */
import { expect, test } from "bun:test";

import { machineTests } from "../helpers/machine.ts";

const program = `const kept: Buffer[] = [];
export default { async fetch(request: Request) {
  const { pathname } = new URL(request.url);
  if (pathname.endsWith("/leak")) for (;;) kept.push(Buffer.alloc(4 * 2 ** 20, 1));
  if (pathname.endsWith("/helper")) {
    const helper = Bun.spawn(["/bin/tail", "-c", "300000000", "/dev/zero"]);
    return new Response("helper " + ((await helper.exited) > 128));
  }
  if (pathname.endsWith("/escape")) {
    try {
      await Bun.write("/sys/fs/cgroup/cgroup.procs", String(process.pid));
    } catch (error) {
      return new Response(error.code);
    }
  }
  if (pathname.endsWith("/bomb")) {
    const spawned: Bun.Subprocess[] = [];
    try {
      for (let i = 0; i < 500; i += 1) spawned.push(Bun.spawn(["/bin/sleep", "1000"]));
    } catch (error) {
      for (const child of spawned) child.kill("SIGKILL");
      return new Response(spawned.length + " " + error.code);
    }
  }
  const group = (await Bun.file("/proc/self/cgroup").text()).slice("0::".length).trim();
  return new Response(process.pid + " " + group + "\\n");
} };
`;

const apps = `listen = ["127.0.0.1:8080"]
[log]
level = 1
access = "off"
[[apps]]
root = "/srv/memory"
prefix = "/memory"
memory_max = "200m"
min_instances = 2
instances = 2
concurrency = 1
[[apps]]
name = "tasks"
root = "/srv/tasks & more"
prefix = "/tasks"
tasks_max = 100
[[apps]]
root = "/srv/light"
prefix = "/light"
cpu_weight = 50
[[apps]]
root = "/srv/heavy"
prefix = "/heavy"
cpu_weight = 500
[[apps]]
root = "/srv/command"
prefix = "/command"
command = "httpd -f -p {port} -h /proc"
tasks_max = 50
[[apps]]
root = "/srv/free"
prefix = "/free"
`;

/** Functions of the scripts. */
const library = `
G=/sys/fs/cgroup
until_true() { # what, command
  n=0
  while ! eval "$2" 2>/dev/null; do
    n=$((n + 1))
    [ $n -lt 200 ] || { echo "waited in vain until $1"; cat /tmp/log; exit 1; }
    sleep 0.1
  done
}
start() { # what is put before it
  : >/tmp/log; : >/tmp/out
  "$@" pool serve --config \${CONFIG:-/etc/pool.toml} >/tmp/out 2>/tmp/log &
  S=$!
  echo $S >/tmp/supervisor
  until_true "it listens" 'grep -q listening /tmp/out'
}
S=$(cat /tmp/supervisor 2>/dev/null)
server() { ps | grep ' [b]uiltin ' | awk '{ print $1 }'; }
get() { wget -q -O - http://127.0.0.1:8080$1; }
groups() { find $G -type d -name 'app-*' | sort; }
stop() {
  kill $S
  until_true "it has ended" '! kill -0 $S 2>/dev/null'
}
`;

const roots = ["memory", "tasks & more", "light", "heavy", "command", "free"];
const machine = machineTests({
  "/etc/pool.toml": apps,
  "/lib.sh": library,
  "/bin/as-alice": `#!/bin/sh\nexec su alice -c "exec $*"\n`,
  ...Object.fromEntries(roots.map((name) => [`/srv/${name}/server.ts`, program])),
});

function run(script: string): Promise<string> {
  return machine.run(`. /lib.sh\n${script}`);
}

const patience = 150_000;

test(
  "memory_max ends the instance that leaks, and only that; the log and the figures say so",
  async () => {
    const said = await run(`
start
until_true "both are there" '[ $(cat $G/app-*-memory/cgroup.procs | wc -l) -ge 2 ]'
get /memory | cut -d' ' -f2
cat $G/app-*-memory/memory.max
before=$(sort -n $G/app-*-memory/cgroup.procs)
wget -q -O - --post-data x http://127.0.0.1:8080/memory/leak || echo refused
until_true "it is said" 'grep -q "instance died" /tmp/log'
grep "instance died" /tmp/log
after=$(sort -n $G/app-*-memory/cgroup.procs)
for p in $before; do kill -0 $p && echo survives; done
pool status --openmetrics --pid $S | grep 'exits.*outOfMemory'
get /memory/helper; echo
get /free
`);
    expect(said).toMatch(/^helper true$/m);
    expect(said).toMatch(/^\/app-\d+-\d+-1-memory$/m);
    expect(said).toMatch(/^209715200$/m);
    expect(said).toMatch(/^refused$/m);
    expect(said).toContain(
      'end="was ended by SIGKILL: the kernel ended it, its application has used up memory_max"',
    );
    expect(said.match(/^survives$/gm)).toHaveLength(1);
    expect(said).toMatch(/reason="outOfMemory"\} 1$/m);
    expect(said).toMatch(/^\d+ \/$/m);
  },
  patience,
);

test(
  "tasks_max stops a fork bomb, nobody leaves his group, weights are the kernel's",
  async () => {
    const said = await run(`
get /tasks/escape; echo
get /tasks/bomb; echo
cat $G/app-*-tasks___more/pids.max
get /command 2>/dev/null || true
cat /proc/$(head -n 1 $G/app-*-command/cgroup.procs)/comm
get /light >/dev/null; get /heavy >/dev/null
cat $G/app-*-light/cpu.weight $G/app-*-heavy/cpu.weight
get /free
until_true "the refusal is said" 'grep -q "gets no more processes" /tmp/log'
grep "gets no more processes" /tmp/log
until_true "the helper's end is said" 'grep -q "processes of an application are ended" /tmp/log'
grep "processes of an application are ended" /tmp/log
`);
    expect(said).toMatch(/are ended app=\/srv\/memory count=1 cause="the kernel ended it, /);
    expect(said).toMatch(/^EACCES$/m);
    const [, spawned = ""] = /^(\d+) EAGAIN$/m.exec(said) ?? [];
    expect(Number(spawned)).toBeGreaterThan(10);
    expect(Number(spawned)).toBeLessThan(100);
    // The launch command, which starts programs that know nothing of us, has gone before.
    expect(said).toMatch(/^100\nhttpd\n50\n500$/m);
    expect(said).toContain("tasks_max, 100, is reached");
  },
  patience,
);

test(
  "limits that change hold at once; the groups go with the pool server, however it ends",
  async () => {
    const said = await run(`
P=$(server)
sed 's/tasks_max = 100/tasks_max = 90/; s/"200m"/"150m"/' /etc/pool.toml >/tmp/pool.toml
cp /tmp/pool.toml /etc/pool.toml
kill -HUP $S
until_true "it holds" '[ "$(cat $G/app-*-tasks___more/pids.max)" = 90 ]'
until_true "memory too" '[ "$(cat $G/app-*-memory/memory.max)" = 157286400 ]'
groups | wc -l
kill -9 $P
get /light >/dev/null
until_true "the old ones are gone" '! groups | grep -q app-$P-'
groups | grep -c light
kill -9 $S
until_true "all are gone" '[ -z "$(groups)" ]'
start
get /heavy >/dev/null
groups | grep -c heavy
stop
groups | wc -l
`);
    expect(said).toBe("5\n1\n1\n0\n");
  },
  patience,
);

test(
  "who was delegated a group divides that, and stands aside in it",
  async () => {
    const said = await run(`
echo '+memory +pids +cpu' >$G/cgroup.subtree_control
mkdir $G/his
chown alice $G/his $G/his/cgroup.procs $G/his/cgroup.subtree_control
start sh -c 'echo $$ >'$G'/his/cgroup.procs; exec as-alice "$@"' sh
get /memory | cut -d' ' -f2
cat $G/his/app-*-memory/memory.max
get /free | cut -d' ' -f2
cat $G/his/cgroup.procs | wc -l
kill -9 $S $(server)
sleep 0.1
start sh -c 'echo $$ >'$G'/his/pool-server/cgroup.procs; exec as-alice "$@"' sh
get /memory | cut -d' ' -f2
until_true "what the dead had is gone" '[ $(groups | wc -l) = 1 ]'
stop
groups | wc -l
rmdir $G/his/pool-server $G/his
echo '-memory -pids -cpu' >$G/cgroup.subtree_control
`);
    expect(said).toMatch(
      new RegExp(
        [
          "^/his/app-\\d+-\\d+-\\d+-memory\n157286400\n/his/pool-server\n0\n",
          "/his/app-\\d+-\\d+-\\d+-memory\n0\n$",
        ].join(""),
      ),
    );
  },
  patience,
);

test(
  "what cannot be kept is said once, with what to do, and all is served",
  async () => {
    const said = await run(`
start as-alice
get /memory >/dev/null; get /heavy >/dev/null; get /light >/dev/null
grep "limits are not kept" /tmp/log
stop
echo
echo '+memory +pids +cpu' >$G/cgroup.subtree_control
mkdir $G/crowd
sleep 1000 &
echo $! >$G/crowd/cgroup.procs
start sh -c 'echo $$ >'$G'/crowd/cgroup.procs; exec "$@"' sh
get /memory >/dev/null
grep "limits are not kept" /tmp/log
stop
kill %1
echo
umount $G
start
get /memory >/dev/null
grep "limits are not kept" /tmp/log
stop
`);
    const [denied = "", crowd = "", nothing = ""] = said.split("\n\n");
    for (const key of ["memory_max", "tasks_max", "cpu_weight"]) {
      for (const text of [denied, crowd, nothing]) expect(text.split(key).length).toBe(2);
    }
    expect(denied).toContain("EACCES");
    expect(denied).toContain("Delegate=yes");
    expect(crowd).toContain("processes of others are in it");
    expect(nothing).toContain("there is no cgroup v2 here");
  },
  patience,
);
