/**
 * What an instance is given and as whom it runs: nothing of others', never as root by mistake, and
 * whatever cannot be passed on is refused in words.
 */
import { describe, expect } from "bun:test";
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { findUser, type User } from "../../src/native/process.ts";
import {
  builtin,
  configure,
  faultTests,
  preloadersOf,
  refusal,
  request,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { languages } from "../helpers/languages.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";
import type { GetOptions, RawClient } from "../helpers/raw-client.ts";

countDescriptors();
const faultTest = faultTests();

/** A line of /proc/PID/status. */
function statusOf(pid: number, name: string): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${name}:\\s*(.*?)\\s*$`, "m").exec(status)?.[1] ?? "";
}

/** State, parent, group, session, terminal (proc(5) stat). */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** Sockets and pipes of a process, as the kernel numbers them. */
function endsOf(pid: number): string[] {
  return [...openDescriptors(pid).values()].filter((what) => /^(socket|pipe):/.test(what));
}

function nobody(): User {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  return user;
}

/** Everybody may enter where the applications lie. */
function openUp(server: ServerUnderTest): void {
  for (const path of [server.files.directory, join(server.files.directory, "apps")]) {
    chmodSync(path, 0o755);
  }
}

const lowered: GetOptions = { lowerPrivilege: "true", lowestUser: "nobody" };

describe.each(languages)("$name:", ({ file, options, programs }) => {
  /** An instance with a session that stays open. */
  async function startBusy(client: RawClient, server: ServerUnderTest, name: string) {
    const root = writeFiles(server, name, { [file]: programs.serves });
    return (await client.get(root, options)).pid;
  }

  faultTest("it puts nothing into the directory for temporary files", async (server) => {
    const client = await server.connect();
    const before = readdirSync(server.files.directory);
    await startBusy(client, server, "tidy");
    const added = readdirSync(server.files.directory).filter((name) => !before.includes(name));
    // The server's own, in which the loaders lie.
    expect(added.filter((name) => !name.startsWith("application-pool-"))).toEqual([]);
  });

  faultTest(
    "an instance holds 0 to 4, and no end of another's or of the server's",
    async (server) => {
      const client = await server.connect();
      const pids = [];
      for (const name of ["a", "b"]) pids.push(await startBusy(client, server, name));
      const others = [server.pid, ...preloadersOf(server)];
      for (const pid of pids) {
        const open = openDescriptors(pid);
        expect(open.get(0)).toBe("/dev/null");
        expect([1, 2, 3, 4].map((fd) => open.get(fd)?.split(":")[0])).toEqual([
          "pipe",
          "pipe",
          "socket",
          "socket",
        ]);
        const theirs = [...others, ...pids.filter((other) => other !== pid)].flatMap(endsOf);
        expect(endsOf(pid).filter((end) => theirs.includes(end) && !isOutput(end, pid))).toEqual(
          [],
        );
        // Beyond 4 are the session at hand, and what its runtime opened for itself.
        const sockets = [...open].filter(([fd, what]) => fd > 4 && what.startsWith("socket:"));
        // asyncio wakes itself by a pair of them.
        expect(sockets.length).toBeLessThanOrEqual(options.appType === "asgi" ? 3 : 1);
      }
    },
  );

  faultTest(
    "an instance leads a process group of its own, in no session of the server's, " +
      "with no signal blocked",
    async (server) => {
      const client = await server.connect();
      const pid = await startBusy(client, server, "grouped");
      const [, , group, session, terminal] = statOf(pid);
      expect(group).toBe(String(pid));
      expect(session).not.toBe(statOf(server.pid)[3]);
      expect(terminal).toBe("0");
      // A runtime blocks them while it starts a thread.
      const blocked = () => statusOf(pid, "SigBlk");
      await until("no signal is blocked", () => BigInt(`0x${blocked()}`) === 0n, blocked);
      expect(statusOf(pid, "NoNewPrivs")).toBe("1");
    },
  );

  faultTest(
    "it runs as the owner of its startup file, with his group and no other",
    async (server) => {
      const { uid, gid } = nobody();
      openUp(server);
      const client = await server.connect();
      const root = writeFiles(server, "owned", { [file]: programs.serves });
      chownSync(join(root, file), uid, gid);
      const { pid } = await request(client, root, { ...options, ...lowered, lowestUser: "daemon" });
      const preloaders = options.spawnMethod === "smart" ? preloadersOf(server) : [];
      for (const process of [pid, ...preloaders]) {
        expect(statusOf(process, "Uid")).toBe([uid, uid, uid, uid].join("\t"));
        expect(statusOf(process, "Gid")).toBe([gid, gid, gid, gid].join("\t"));
        expect(statusOf(process, "Groups")).toBe(String(gid));
      }
    },
  );
});

/** Runs in place of Python, says whom it runs as, and ends. */
const sayWho = "#!/bin/sh\nid -un >&2\nexit 1\n";

faultTest(
  "nobody gets his interpreter run as somebody else, by a link, a hard link, or the other's file",
  async (server) => {
    const [alice, bob] = [findUser("daemon"), findUser("bin")];
    if (alice === undefined || bob === undefined) throw new Error("a user is missing");
    openUp(server);
    const client = await server.connect();
    const theirs = writeFiles(server, "bobs", { "wsgi.py": python?.programs.serves ?? "" });
    chownSync(join(theirs, "wsgi.py"), bob.uid, bob.gid);
    const plants = {
      link: (path: string) => symlinkSync(join(theirs, "wsgi.py"), path),
      "hard link": (path: string) => linkSync(join(theirs, "wsgi.py"), path),
      file: (path: string) => {
        writeFileSync(path, "");
        lchownSync(path, bob.uid, bob.gid);
      },
    };
    for (const [name, plant] of Object.entries(plants)) {
      const root = writeFiles(server, name, {
        ".venv/pyvenv.cfg": "",
        ".venv/bin/python3": sayWho,
      });
      for (const path of ["", ".venv", ".venv/pyvenv.cfg", ".venv/bin", ".venv/bin/python3"]) {
        chownSync(join(root, path), alice.uid, alice.gid);
      }
      chmodSync(join(root, ".venv/bin/python3"), 0o755);
      plant(join(root, "wsgi.py"));
      const { message, page } = await refusal(client, root, { ...lowered, appType: "wsgi" });
      expect(message).toContain(
        `'${root}' belongs to daemon, and the application would run as bin`,
      );
      expect(page).toContain("belongs to daemon");
    }
  },
);

/** Whether it is the pipe of the process's own output, whose other end the server reads. */
function isOutput(end: string, pid: number): boolean {
  return openDescriptors(pid).get(1) === end;
}

const [bun] = languages;
const python = languages.find(({ options }) => options.appType === "wsgi");
if (bun === undefined || python === undefined) throw new Error("a language is missing");
const files = { [bun.file]: bun.programs.serves };

faultTest(
  "groups that the server has itself are not passed to who runs as another user",
  { ...builtin, binary: { builtin: true, wrapper: ["setpriv", "--groups=1,2,3"] } },
  async (server) => {
    const { gid } = nobody();
    openUp(server);
    expect(statusOf(server.pid, "Groups")).toBe("1 2 3");
    const client = await server.connect();
    const root = writeFiles(server, "grouped", files);
    const { pid } = await request(client, root, { ...bun.options, ...lowered });
    expect(statusOf(pid, "Groups")).toBe(String(gid));
  },
);

faultTest(
  "what would run as root is refused: an unknown user, or root as the lowest",
  async (server) => {
    nobody();
    const client = await server.connect();
    const root = writeFiles(server, "roots", files);
    for (const lowestUser of ["no such user", "root", ""]) {
      const { message } = await refusal(client, root, { ...bun.options, ...lowered, lowestUser });
      expect(message).toContain("belongs to root, and the user to run as");
    }
  },
);

const powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-setuid,-setgid"];

faultTest(
  "a root that may not switch users refuses to run applications as itself",
  { ...builtin, binary: { builtin: true, wrapper: powerless } },
  async (server) => {
    nobody();
    openUp(server);
    const client = await server.connect();
    const root = writeFiles(server, "switched", files);
    const { message } = await refusal(client, root, { ...bun.options, ...lowered });
    expect(message).toContain("EPERM");
  },
);

faultTest("variables that do not fit, or hold a NUL, are refused in words", async (server) => {
  const client = await server.connect();
  const root = writeFiles(server, "big", {
    [bun.file]: "export default { fetch: () => new Response(String(process.env.BIG?.length)) };",
  });
  await configure(client, root, { env: { BIG: "x".repeat(120_000) } });
  expect((await request(client, root, bun.options)).body).toBe("120000");
  await client.send("clear");
  await configure(client, root, { env: { BIG: "x".repeat(130_900) } });
  expect((await request(client, root, bun.options)).body).toBe("130900");
  await client.send("clear");
  const refused = configure(client, root, { env: { NUL: "a\0b" } });
  expect(await refused.catch(String)).toContain('"NUL" holds a NUL');
  await configure(client, root, {});
  expect((await request(client, root, bun.options)).body).toBe("undefined");
});

faultTest(
  "LD_PRELOAD of a library that is not there is the application's affair",
  async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "preloaded", files);
    await configure(client, root, { env: { LD_PRELOAD: "/nonexistent/library.so" } });
    expect((await request(client, root, bun.options)).head).toStartWith("Status: 200");
  },
);

const strange = "\xff blank\nnewline";

faultTest(
  "a root that is no UTF-8, with a blank and a newline, is served from there",
  async (server) => {
    const client = await server.connect();
    const root = server.app(strange);
    mkdirSync(Buffer.from(root, "latin1"));
    writeFileSync(Buffer.from(join(root, python.file), "latin1"), python.programs.serves);
    const { pid, body } = await request(client, root, python.options);
    expect(body).toBe(String(pid));
    expect(server.log()).not.toContain("\xff");
    const other = server.app(`${strange} too`);
    mkdirSync(Buffer.from(other, "latin1"));
    writeFileSync(Buffer.from(join(other, bun.file), "latin1"), bun.programs.serves);
    const { message } = await refusal(client, other, bun.options);
    expect(message).toContain("Bun cannot load a program from");
  },
);
