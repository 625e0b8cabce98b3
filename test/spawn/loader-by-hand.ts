/**
 * Loaders that a test drives itself, without a spawner: it holds the other end of their lifeline or
 * control socket, and sees every message.
 */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { sendDescriptor } from "../../src/native/descriptors.ts";
import { open } from "../../src/native/fd.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { connectUnix, listenUnix, pathAddress, send, socketPair } from "../../src/native/socket.ts";
import { frame, readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { get, parseAnswer, writeApp } from "./support.ts";

export type Kind = "rack" | "wsgi" | "asgi";

/** Interpreter, loader, startup file, and what is said behind that. */
const loaders: Readonly<Record<Kind, readonly [string, string, string, ...string[]]>> = {
  rack: ["/usr/bin/ruby", "rack/loader.rb", "config.ru"],
  wsgi: ["/usr/bin/python3", "python/loader.py", "wsgi.py", "wsgi", "concurrency=1"],
  asgi: ["/usr/bin/python3", "python/loader.py", "asgi.py", "asgi", "concurrency=1"],
};

/** A preloader and our end of its descriptor 4. */
export class Preloader implements Disposable {
  readonly directory: string;
  readonly control: OwnedFd;
  readonly #child: Bun.Subprocess;
  #forks = 0;

  /** @param directory is its alone; the test removes it. */
  constructor(directory: string, kind: Kind, source: string) {
    this.directory = directory;
    const [ours, theirs] = socketPair();
    using control = theirs;
    using nothing = open("/dev/null", "read");
    using log = open(`${directory}/log`, "append");
    this.control = ours;
    const stdio = [log.number, log.number, nothing.number, control.number] as const;
    this.#child = startLoader(directory, kind, "preloader", source, stdio);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** What it has written itself. */
  get log(): string {
    return readFileSync(`${this.directory}/log`, "utf8");
  }

  /** The next message on its descriptor 4. */
  said(): Promise<string> {
    return messageOn(this.control);
  }

  /** Orders an instance and gives it what it is to inherit. */
  order(): Ends {
    this.#forks += 1;
    const ends = new Ends(`${this.directory}/${this.#forks}`);
    send(this.control.number, frame("fork", String(this.#forks)));
    for (const end of ends.inherited) {
      sendDescriptor(this.control.number, end.number);
      end.close();
    }
    return ends;
  }

  /** An instance that has been forked and is ready. */
  async fork(): Promise<Ends & { pid: number }> {
    const ends = this.order();
    const [forked, number, pid] = (await this.said()).split(" ");
    expect([forked, number]).toEqual(["forked", String(this.#forks)]);
    expect(await ends.said()).toBe("ready 1 done");
    return Object.assign(ends, { pid: Number(pid) });
  }

  [Symbol.dispose](): void {
    this.control.close();
    this.#child.kill("SIGKILL");
  }
}

/** Our side of an instance: its lifeline, its socket, and the file it writes to. */
export class Ends implements Disposable {
  readonly lifeline: OwnedFd;
  /** In the order in which they are sent: listener, lifeline, output. */
  readonly inherited: readonly OwnedFd[];
  readonly #path: string;

  constructor(path: string) {
    const [ours, theirs] = socketPair();
    this.#path = path;
    this.lifeline = ours;
    this.inherited = [listenUnix(pathAddress(path), 5), theirs, open(`${path}.log`, "append")];
  }

  /** What the instance has written. */
  get log(): string {
    return readFileSync(`${this.#path}.log`, "utf8");
  }

  /** The next message on its lifeline. */
  said(): Promise<string> {
    return messageOn(this.lifeline);
  }

  connect(): OwnedFd {
    const session = connectUnix(pathAddress(this.#path));
    if (session === "full") throw new Error("the backlog is full");
    return session;
  }

  async ask(path: string): Promise<string> {
    using session = this.connect();
    await sendAll(session.number, get({ PATH_INFO: path }));
    return parseAnswer(await readToEnd(session.number)).body;
  }

  [Symbol.dispose](): void {
    this.lifeline.close();
  }
}

/** An instance that has been started by itself, and is ready. */
export async function instanceByHand(
  directory: string,
  kind: Kind,
  source: string,
): Promise<Ends & { pid: number }> {
  const ends = new Ends(`${directory}/instance`);
  const [listener, lifeline, output] = ends.inherited.map(({ number }) => number);
  if (listener === undefined || lifeline === undefined || output === undefined) throw new Error();
  const stdio = [output, output, listener, lifeline] as const;
  const child = startLoader(directory, kind, "instance", source, stdio);
  for (const end of ends.inherited) end.close();
  expect(await ends.said()).toBe("ready 1 done");
  const dispose = () => {
    ends.lifeline.close();
    child.kill("SIGKILL");
  };
  return Object.assign(ends, { pid: child.pid, [Symbol.dispose]: dispose });
}

/** @param stdio its descriptors 1 to 4. */
function startLoader(
  directory: string,
  kind: Kind,
  mode: "instance" | "preloader",
  source: string,
  stdio: readonly [number, number, number, number],
): Bun.Subprocess {
  const [program, loader, file, ...more] = loaders[kind];
  const cwd = writeApp(directory, "app", { [file]: source });
  const path = join(import.meta.dir, "../../src/spawn/builtin/loaders", loader);
  // Else Python leaves translations beside the loader's files.
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
  return Bun.spawn([program, path, mode, file, ...more], { cwd, env, stdio: ["ignore", ...stdio] });
}

async function messageOn(control: OwnedFd): Promise<string> {
  const size = Buffer.from(await readExactly(control.number, 2), "latin1").readUInt16BE();
  return (await readExactly(control.number, size)).slice(0, -1).replaceAll("\0", " ");
}
