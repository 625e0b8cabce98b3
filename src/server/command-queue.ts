/**
 * From a client's bytes to its commands, which wait here for those before them: in order, and
 * bounded (PROTOCOL section 3). `configure` and `register` bring a scalar with them, which the
 * stream announces by nothing but the command before it. After the first message that is wrong, or
 * not for this client to say, nothing more is read: it comes out as `invalid` in its place, so that
 * the commands before it are carried out.
 */
import type { ByteString } from "../wire/bytes.ts";
import type { Command, TaggedGet } from "../wire/commands.ts";
import { MAX_CONFIGURE_BYTES } from "../wire/configure.ts";
import { Decoder } from "../wire/decoder.ts";
import { HotCommands } from "../wire/hot-commands.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { MAX_REGISTER_BYTES } from "../wire/register.ts";
import { type Rights, whyNotAllowed } from "./rights.ts";

/** What a client may have waiting. */
const maxCommands = 1000;
const maxBytes = 256 * 1024;
/** The supervisor too, beside one registration that has not come in full. */
const maxSupervisorBytes = maxBytes + MAX_REGISTER_BYTES;

/** Commands that a scalar follows, and how many bytes it may have. */
const scalarBytes = { configure: MAX_CONFIGURE_BYTES, register: MAX_REGISTER_BYTES } as const;

type WithScalar = keyof typeof scalarBytes;

/**
 * A command as it arrived: `configure` and `register` together with their scalar, and in place of a
 * wrong message why it is wrong.
 */
export type Arrival =
  | Exclude<Command, { kind: WithScalar }>
  | {
      readonly [K in WithScalar]: {
        readonly kind: K;
        readonly root: ByteString;
        readonly options: Uint8Array;
      };
    }[WithScalar]
  | { readonly kind: "invalid"; readonly error: ProtocolError };

/** A command that waits, and its length on the wire. */
interface Waiting {
  readonly command: Arrival;
  readonly bytes: number;
}

export class CommandQueue {
  readonly #rights: Rights;
  readonly #maxBytes: number;
  readonly #decoder = new Decoder();
  readonly #commands = new HotCommands();
  readonly #parse = (data: Uint8Array, first: number, end: number): Command =>
    this.#commands.read(data, first, end);
  /** The command whose scalar is still to come. */
  #begun: Extract<Command, { kind: WithScalar }> | undefined;
  #broken = false;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #takesGets = true;

  constructor(rights: Rights) {
    this.#rights = rights;
    this.#maxBytes = rights === "supervisor" ? maxSupervisorBytes : maxBytes;
  }

  /** Takes bytes. They are borrowed until `next` or `hold` has taken what is in them. */
  receive(chunk: Uint8Array): void {
    if (!this.#broken) this.#decoder.push(chunk);
  }

  /** Whether anything is left, be it the part of a command. */
  get hasMore(): boolean {
    return this.#waiting.length + this.#decoder.buffered > 0;
  }

  next(): Arrival | undefined {
    if (this.#waiting.length === 0) return this.#read();
    const next = this.#waiting.shift();
    this.#bytes -= next?.bytes ?? 0;
    return next?.command;
  }

  /**
   * A command is under way and takes its time: keeps those behind it. `overtakes` is asked of each,
   * and has carried it out if it says so.
   */
  hold(overtakes: (command: Arrival) => boolean): void {
    const held = this.#waiting;
    this.clear();
    for (const { command, bytes } of held) this.#holdOne(command, bytes, overtakes);
    for (;;) {
      const before = this.#decoder.buffered;
      const command = this.#read();
      if (command === undefined) return;
      // What follows a wrong message is dropped: it does not wait.
      const bytes = command.kind === "invalid" ? 0 : before - this.#decoder.buffered;
      this.#holdOne(command, bytes, overtakes);
    }
  }

  /** From now on gets that arrive are dropped; those that wait here are not. */
  takeNoGets(): void {
    this.#takesGets = false;
  }

  #read(): Arrival | undefined {
    let command = this.#readAny();
    while (!this.#takesGets && command !== undefined && isGet(command)) {
      command = this.#readAny();
    }
    return command;
  }

  /** The next command that has come whole, with its scalar. */
  #readAny(): Arrival | undefined {
    if (this.#broken) return undefined;
    try {
      if (this.#begun === undefined) {
        const command = this.#decoder.nextPayload(this.#parse);
        if (command === undefined) return undefined;
        const why = whyNotAllowed(command.kind, this.#rights);
        if (why !== undefined) throw new ProtocolError(why);
        if (command.kind !== "configure" && command.kind !== "register") return command;
        this.#begun = command;
      }
      const { kind, root } = this.#begun;
      const options = this.#decoder.nextScalar(scalarBytes[kind]);
      if (options === undefined) return undefined;
      this.#begun = undefined;
      return { kind, root, options };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#broken = true;
      this.#decoder.takeRest();
      return { kind: "invalid", error };
    }
  }

  #holdOne(command: Arrival, bytes: number, overtakes: (command: Arrival) => boolean): void {
    if (overtakes(command)) return;
    this.#waiting.push({ command, bytes });
    this.#bytes += bytes;
  }

  /** Drops the get of that tag, if one waits here. */
  withdraw(tag: ByteString): void {
    const index = this.#waiting.findIndex(
      ({ command }) => isTagged(command) && command.tag === tag,
    );
    if (index < 0) return;
    const [removed] = this.#waiting.splice(index, 1);
    this.#bytes -= removed?.bytes ?? 0;
  }

  /** Why too much waits, if it does. @param pending commands that wait elsewhere and count, too. */
  excess(pending: number): string | undefined {
    const commands = this.#waiting.length + pending;
    const bytes = this.#bytes + this.#decoder.buffered;
    if (commands > maxCommands) return `more than ${maxCommands} commands wait`;
    const most = this.#maxBytes;
    if (bytes > most) return `${bytes} bytes of commands wait, ${most} at most`;
    return undefined;
  }

  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }
}

function isGet(command: Arrival): boolean {
  return command.kind === "get" || isTagged(command);
}

function isTagged(command: Arrival): command is TaggedGet {
  return "tag" in command && "app" in command;
}
