/**
 * A machine of its own for tests: Debian's kernel in an emulator (qemu, which interprets: no rights
 * or processor of the host are needed), with cgroup v2, our binary, busybox, and nothing else. It
 * runs shell scripts that come over a serial line, and is gone afterwards.
 *
 * The kernel is downloaded once and kept in node_modules/.cache; nothing is installed.
 */
import { afterAll, beforeAll } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import type { Socket, Subprocess } from "bun";

import { binaryPath } from "./binary-server.ts";
import { within } from "./condition.ts";

const cache = join(import.meta.dir, "../../node_modules/.cache/machine");
const metaPackage = "linux-image-cloud-amd64";

/** Interpreted, beside a busy machine, a start takes some ten seconds. */
const bootMs = 120_000;
const scriptMs = 60_000;

const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
while read -r length line <&3; do
  [ "\${#line}" = "$length" ] || { echo again >&3; continue; }
  echo "$line" | base64 -d >/run/script
  timeout ${scriptMs / 1000} sh /run/script >/run/output 2>&1 </dev/null
  status=$?
  echo "$status $(base64 /run/output | tr -d '\\n')" >&3
done
poweroff -f
`;

const users = ["root:0:/root", "alice:1000:/tmp", "nobody:65534:/tmp"].map((user) =>
  user.split(":"),
);

export class Machine {
  readonly #directory = mkdtempSync(join(tmpdir(), "pool-machine-"));
  #emulator: Subprocess | undefined;
  #line: Socket | undefined;
  #received = "";
  #waiting = Promise.withResolvers<string>();

  /** Starts it with these files, by their absolute paths. */
  async boot(files: Readonly<Record<string, string>>): Promise<void> {
    const socket = join(this.#directory, "line");
    const connected = Promise.withResolvers<Socket>();
    const listener = Bun.listen({
      unix: socket,
      socket: {
        open: (line) => connected.resolve(line),
        data: (_line, chunk) => this.#receive(chunk.toString("latin1")),
      },
    });
    const kernel = await findKernel();
    await this.#writeFiles(files);
    const hardware = "-accel tcg -cpu max -smp 2 -m 1024 -nodefaults -display none -no-reboot";
    const lines = ["-serial", `file:${this.#directory}/console`, "-serial", `unix:${socket}`];
    const start = ["-kernel", kernel, "-initrd", `${this.#directory}/initrd`];
    const words = ["-append", "console=ttyS0 panic=-1 quiet"];
    const command = ["qemu-system-x86_64", ...hardware.split(" "), ...lines, ...start, ...words];
    this.#emulator = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] });
    this.#line = await within("the emulator", connected.promise, bootMs);
    listener.stop();
    const said = await within("the machine's start", this.#waiting.promise, bootMs);
    if (said !== "ready") throw new Error(`the machine begins with ${said}`);
  }

  /** Runs a shell script as root. @returns what it wrote. @throws Error: it failed. */
  async run(script: string): Promise<string> {
    const text = Buffer.from(script).toString("base64");
    let answer = "again";
    // A serial line may lose bytes.
    for (let times = 0; answer === "again" && times < 3; times += 1) {
      this.#waiting = Promise.withResolvers<string>();
      this.#line?.write(`${text.length} ${text}\n`);
      answer = await within("a script's end", this.#waiting.promise, 2 * scriptMs);
    }
    const [status = "", encoded = ""] = answer.split(" ");
    const output = Buffer.from(encoded, "base64").toString();
    if (status !== "0") throw new Error(`a script ended with status ${status}:\n${output}`);
    return output;
  }

  async stop(): Promise<void> {
    this.#line?.end();
    this.#emulator?.kill("SIGKILL");
    await this.#emulator?.exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #receive(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf("\n");
    if (end < 0) return;
    this.#waiting.resolve(this.#received.slice(0, end).trim());
    this.#received = this.#received.slice(end + 1);
  }

  async #writeFiles(files: Readonly<Record<string, string>>): Promise<void> {
    const root = join(this.#directory, "root");
    const all: Record<string, string> = {
      "/init": init,
      "/etc/passwd": users
        .map(([name, id, home]) => `${name}:x:${id}:${id}::${home}:/bin/sh\n`)
        .join(""),
      "/etc/group": users.map(([name, id]) => `${name}:x:${id}:\n`).join(""),
      ...files,
    };
    for (const name of ["proc", "sys", "dev", "tmp", "run", "root", "bin"]) {
      mkdirSync(join(root, name), { recursive: true });
    }
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text, { mode: 0o755 });
    }
    const libraries = Array.from((await outputOf(["ldd", binaryPath])).matchAll(/(\/\S+) \(/g));
    const copies = libraries.map(([, library = ""]) => [library, library] as const);
    for (const [from, to] of [
      ...copies,
      [binaryPath, "/bin/pool"],
      ["/bin/busybox", "/bin/busybox"],
    ]) {
      if (from === undefined || to === undefined) continue;
      mkdirSync(dirname(join(root, to)), { recursive: true });
      await outputOf(["cp", "-L", from, join(root, to)]);
    }
    const pack = "find . | cpio --quiet -o -H newc -R 0:0 >../initrd";
    await outputOf(["sh", "-c", `cd '${root}' && ${pack}`]);
    rmSync(root, { recursive: true });
  }
}

/** To be called once at the top of a test file: a machine with these files for all of its tests. */
export function machineTests(files: Readonly<Record<string, string>>): Machine {
  const machine = new Machine();
  beforeAll(() => machine.boot(files), bootMs);
  afterAll(() => machine.stop());
  return machine;
}

/** Debian's kernel for virtual machines; downloaded if it is not there. */
async function findKernel(): Promise<string> {
  const kernel = join(cache, "vmlinuz");
  if (existsSync(kernel)) return kernel;
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, "download-"));
  const depends = await outputOf(["apt-cache", "depends", metaPackage]);
  const [name = ""] = /linux-image-\d\S*/.exec(depends) ?? [];
  await outputOf(["apt-get", "download", "-q", name], directory);
  const [archive = ""] = readdirSync(directory);
  const unpack = `dpkg-deb --fsys-tarfile '${archive}' | tar -xO --wildcards './boot/vmlinuz-*'`;
  await outputOf(["sh", "-c", `${unpack} >vmlinuz && mv vmlinuz '${kernel}'`], directory);
  rmSync(directory, { recursive: true });
  return kernel;
}

/** What a command writes. @throws Error: it fails. */
async function outputOf(command: readonly string[], cwd = "/"): Promise<string> {
  const child = Bun.spawn([...command], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  const text = await child.stdout.text();
  if ((await child.exited) === 0) return text;
  throw new Error(`${command.join(" ")}: it exited with status ${child.exitCode}`);
}
