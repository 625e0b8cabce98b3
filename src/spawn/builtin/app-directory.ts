/**
 * The root directory of an application, opened, and looks at files from there. Its files belong to
 * its owner, who need not be trusted: each component of a path is opened before anything is decided
 * about it, so what was judged is what is used (native/path-walk.ts), and a content is read
 * bounded, without waiting, with no more rights than those have who have made the way to it.
 */
import { fstatSync, readSync } from "node:fs";

import { SyscallError } from "../../native/errno.ts";
import { identityOf, open } from "../../native/fd.ts";
import { withFileRightsOf } from "../../native/file-rights.ts";
import { last, PathWalk, type Place, type Step } from "../../native/path-walk.ts";
import { descriptorPath } from "../../native/pinned-socket.ts";
import { toText, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";

/** What a path has led to. */
interface Look {
  /** Links and directories on the way below the root, and what they lead to; without a gap. */
  readonly steps: readonly Step[];
  /** What is there; or why there is nothing. */
  readonly found: Step | string;
}

export class AppDirectory implements Disposable {
  readonly #walk = new PathWalk();
  readonly #place: Place;
  /** The links that led to it. */
  readonly links: readonly Step[];

  /** @throws Error when it is no directory, or cannot be looked at. */
  constructor(root: ByteString) {
    const shown = toText(root);
    if (!root.startsWith("/")) {
      throw new Error(`the application root '${shown}' is not an absolute path`);
    }
    const found = this.#try(() => this.#walk.absolute(root));
    const why = typeof found === "string" ? found : "it is not a directory";
    if (typeof found === "string" || !last(found).facts.isDirectory()) {
      this.#walk[Symbol.dispose]();
      throw new Error(`the application root '${shown}' cannot be used: ${why}`);
    }
    this.#place = found;
    this.links = this.#walk.steps.filter(({ facts }) => facts.isSymbolicLink());
  }

  get itself(): Step {
    return last(this.#place);
  }

  /** Another directory has another one; the same has it as long as it is there. */
  get identity(): string {
    return identityOf(this.itself.fd.number);
  }

  /** @param file relative to the root, if it does not begin with a slash. */
  look(file: ByteString): Look {
    const before = this.#walk.steps.length;
    const found = this.#try(() =>
      file.startsWith("/") ? this.#walk.absolute(file) : this.#walk.from(this.#place, file),
    );
    const steps = this.#walk.steps.slice(before);
    return { steps, found: typeof found === "string" ? found : last(found) };
  }

  /** What is there, if it is a file; or why there is none. */
  file(file: ByteString): Step | string {
    const { found } = this.look(file);
    return typeof found === "string" || found.facts.isFile() ? found : "not a file";
  }

  /** The whole of a file as text, without a byte order mark; an Error: why not. */
  read(file: ByteString, maxBytes: number): string | Error {
    const { found, steps } = this.look(file);
    if (typeof found === "string") {
      return new Error(found === absent ? absent : "it cannot be read");
    }
    if (!found.facts.isFile()) return new Error("not a file");
    // A directory of root's may have one of somebody else's in it, and that a link to anything.
    const own = this.itself.facts.uid;
    const isOthers = ({ facts: { uid } }: Step) => uid !== 0 && uid !== own;
    const other = steps.find((step) => step !== found && isOthers(step));
    try {
      return withFileRightsOf(other?.facts.uid ?? own, () => readBounded(found, maxBytes));
    } catch (error) {
      return new Error(error instanceof SyscallError ? "it cannot be read" : causeText(error));
    }
  }

  [Symbol.dispose](): void {
    this.#walk[Symbol.dispose]();
  }

  #try(walk: () => Place): Place | string {
    try {
      return walk();
    } catch (error) {
      if (error instanceof RangeError) return "ENAMETOOLONG"; // or a NUL: no name at all
      if (!(error instanceof SyscallError)) throw error;
      return error.code === "ENOENT" || error.code === "ENOTDIR" ? absent : error.code;
    }
  }
}

export const absent = "there is none";

function readBounded({ fd }: Step, maxBytes: number): string {
  // The very file that was looked at; its rights are asked anew.
  using file = open(descriptorPath(fd.number), "read");
  const { size } = fstatSync(file.number);
  if (size > maxBytes) throw new Error("it is too large");
  const content = Buffer.alloc(size);
  const text = content.toString("utf8", 0, readSync(file.number, content, 0, size, 0));
  return text.replace(/^\uFEFF/, "");
}
