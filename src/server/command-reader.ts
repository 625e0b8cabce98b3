/**
 * From a client's bytes to its commands. `configure` and `register` bring a scalar with them, which
 * the stream announces by nothing but the command before it, so pulling the two apart happens here.
 * After the first message that is wrong, or not for this client to say, nothing more is read: it
 * comes out as `invalid` in its place, so that the commands before it are carried out.
 */
import type { ByteString } from "../wire/bytes.ts";
import type { Command } from "../wire/commands.ts";
import { MAX_CONFIGURE_BYTES } from "../wire/configure.ts";
import { Decoder } from "../wire/decoder.ts";
import { HotCommands } from "../wire/hot-commands.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { MAX_REGISTER_BYTES } from "../wire/register.ts";
import { type Rights, whyNotAllowed } from "./rights.ts";

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

export class CommandReader {
  readonly #decoder = new Decoder();
  readonly #commands = new HotCommands();
  readonly #read = (data: Uint8Array, first: number, end: number): Command =>
    this.#commands.read(data, first, end);
  readonly #rights: Rights;
  /** The command whose scalar is still to come. */
  #begun: Extract<Command, { kind: WithScalar }> | undefined;
  #broken = false;

  constructor(rights: Rights) {
    this.#rights = rights;
  }

  /** Bytes that are no whole command yet. */
  get buffered(): number {
    return this.#decoder.buffered;
  }

  push(chunk: Uint8Array): void {
    if (!this.#broken) this.#decoder.push(chunk);
  }

  /** The next command, or undefined until more arrives. */
  next(): Arrival | undefined {
    if (this.#broken) return undefined;
    try {
      if (this.#begun === undefined) {
        const command = this.#decoder.nextPayload(this.#read);
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
}
