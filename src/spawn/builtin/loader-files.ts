/**
 * The private directory of a running server: its loaders, where every instance may read them, and
 * a place to bind sockets, where nobody else may look.
 *
 * It is made before the first spawn and again if a cleaner of /tmp has taken it, and is removed at
 * the end. One that a killed server left is swept at the next start: its name carries the process
 * id, and only directories of our own user are touched.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { isAlive } from "../../native/process.ts";
import { causeText } from "../../wire/cause.ts";

const namePattern = /^application-pool-([0-9]+)-[A-Za-z0-9]{6}$/;

/** Holds the number of the process that a server that has ended has left its directory to. */
const heirFile = "heir";

/** Directories of this process, which a sweep must leave alone. */
const ours = new Set<string>();

export class LoaderDirectory {
  readonly #base: string;
  #path: string | undefined;
  #sockets = 0;
  #identity = "";
  /** Files that are as they should be, and what was seen of them then. */
  readonly #good = new Map<string, string>();

  /** @param base the directory it lies in; default: the system's for temporary files. */
  constructor(base: string = tmpdir()) {
    // Instances have other working directories than a relative $TMPDIR was meant for.
    this.#base = resolve(base);
  }

  /** Removes what servers that are gone left behind. Never throws. */
  sweep(): void {
    for (const name of namesIn(this.#base)) {
      const path = join(this.#base, name);
      try {
        if (isLeftover(name, path)) rmSync(path, { recursive: true, force: true });
      } catch {
        // Not ours to remove after all; it harms nobody.
      }
    }
  }

  /**
   * The path of a loader's directory, with all of its files in it: name to text. Each is compared
   * with its text whenever it is not as it was at the last look. @throws Error: there is no room.
   */
  loader(name: string, files: Readonly<Record<string, string>>): string {
    const directory = join(this.#ensure(), name);
    if (mkdirSync(directory, { recursive: true }) !== undefined) chmodSync(directory, 0o755);
    for (const [file, text] of Object.entries(files)) {
      const path = join(directory, file);
      const state = stateOf(path);
      if (state !== undefined && state === this.#good.get(path)) continue;
      const isRight = state !== undefined && readFileSync(path, "utf8") === text;
      if (!isRight) writeWhole(path, text);
      this.#good.set(path, isRight ? state : (stateOf(path) ?? ""));
    }
    return directory;
  }

  /** The directory to bind sockets in, and a name not used in it before. */
  socketPlace(): { directory: string; name: string } {
    const directory = join(this.#ensure(), "sockets");
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#sockets += 1;
    return { directory, name: String(this.#sockets) };
  }

  /** Where a directory for a program's socket is made, that others may enter: not used before. */
  programPlace(): string {
    const directory = join(this.#ensure(), "programs");
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    chmodSync(directory, 0o711);
    this.#sockets += 1;
    return join(directory, String(this.#sockets));
  }

  /** Writes a file that nobody else may read. @returns its path. @throws Error: no room. */
  write(name: string, text: string): string {
    const path = join(this.#ensure(), name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Leaves it to another process, which removes it. */
  leaveTo(pid: number): void {
    this.write(heirFile, String(pid));
    this.#path = undefined;
  }

  get path(): string {
    return this.#ensure();
  }

  remove(): void {
    if (this.#path === undefined) return;
    ours.delete(this.#path);
    rmSync(this.#path, { recursive: true, force: true });
    this.#path = undefined;
  }

  #ensure(): string {
    if (this.#path !== undefined && identityOf(this.#path) === this.#identity) return this.#path;
    if (this.#path !== undefined) ours.delete(this.#path);
    this.#good.clear();
    const path = mkdtempSync(join(this.#base, `application-pool-${process.pid}-`));
    ours.add(path);
    this.#path = path;
    chmodSync(path, 0o755);
    this.#identity = identityOf(path) ?? "";
    return path;
  }
}

/** Changes with whatever is done to a file; undefined: there is none, or not of ours. */
function stateOf(path: string): string | undefined {
  const facts = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (facts?.isFile() !== true || Number(facts.uid) !== process.geteuid?.()) return undefined;
  return `${facts.dev} ${facts.ino} ${facts.size} ${facts.ctimeNs}`;
}

/**
 * For all to read, whatever the umask. Written aside and renamed: whoever reads it, and whatever
 * goes wrong, it is whole or absent.
 */
function writeWhole(path: string, text: string): void {
  const aside = `${path}.new`;
  try {
    writeFileSync(aside, text, { flag: "wx" });
    chmodSync(aside, 0o444);
    renameSync(aside, path);
  } catch (cause) {
    rmSync(aside, { force: true });
    throw new Error(`write loader file '${path}': ${causeText(cause)}`, { cause });
  }
}

/** Device, inode and owner of what a name in a directory of everybody's means now. */
function identityOf(path: string): string | undefined {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  return facts?.isDirectory() ? `${facts.dev} ${facts.ino} ${facts.uid}` : undefined;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isLeftover(name: string, path: string): boolean {
  const pid = Number(namePattern.exec(name)?.[1] ?? 0);
  if (pid === 0 || ours.has(path)) return false;
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts === undefined || !facts.isDirectory() || facts.uid !== process.geteuid?.()) {
    return false;
  }
  // Ours by its number, but not ours: an earlier server had the same one, as in containers.
  return (pid === process.pid || !isAlive(pid)) && !hasHeir(path);
}

function hasHeir(path: string): boolean {
  try {
    return isAlive(Number(readFileSync(join(path, heirFile), "latin1")));
  } catch {
    return false; // There is no such file.
  }
}
