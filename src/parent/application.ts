/**
 * Which application a get is for, and how an instance of it is to be started: options with their
 * defaults, turned once into what goes on the wire. A parent with many requests for one application
 * makes one Application and keeps it; checking and encoding are then paid once.
 */
import { appRequestElements, type AppType, type SpawnMethod } from "../wire/app-request.ts";
import { encodePayload } from "../wire/array-message.ts";
import { fromBytes, fromText, type ByteString } from "../wire/bytes.ts";

/** An application as a caller describes it. Only the root is needed. */
export interface ApplicationOptions {
  /**
   * The directory of the application, absolute, and its identity: the server compares it byte for
   * byte. Text is sent as UTF-8; bytes are sent as they are.
   */
  readonly root: string | Uint8Array;
  /** What the application sees as RACK_ENV, NODE_ENV and so on. Default `production`. */
  readonly environment?: string;
  /** `smart` (default) loads code once and forks where the language can; `conservative` never. */
  readonly spawnMethod?: SpawnMethod;
  /** What kind of application it is. Default `auto`: the server looks at its files. */
  readonly appType?: AppType;
  /**
   * Whether a server that runs as root starts it as the owner of its startup file. Default true; a
   * server that is not root ignores it.
   */
  readonly lowerPrivilege?: boolean;
  /** The user it runs as when that owner is root or unknown. Default `nobody`. */
  readonly lowestUser?: string;
  /**
   * Requests over a session that the pool need not know of: with one more it is told at once, which
   * matters where `maxRequests` is configured. Default: any number, for a second.
   */
  readonly maxUntold?: number;
}

/** An application ready to be asked for. */
export class Application {
  /** The root's bytes, one per character. */
  readonly root: ByteString;
  readonly maxUntold: number;
  /** The six elements of a get, each with its NUL, as they follow the tag. */
  readonly #elements: string;

  /** @throws TypeError when the root is empty or an element holds a NUL byte. */
  constructor(options: ApplicationOptions | string) {
    const given = typeof options === "string" ? { root: options } : options;
    this.root = rootBytes(given.root);
    this.maxUntold = given.maxUntold ?? Infinity;
    const elements = appRequestElements({
      root: this.root,
      lowerPrivilege: given.lowerPrivilege ?? true,
      lowestUser: fromText(given.lowestUser ?? "nobody"),
      environment: fromText(given.environment ?? "production"),
      spawnMethod: given.spawnMethod ?? "smart",
      appType: given.appType ?? "auto",
    });
    if (elements.some((element) => element.includes("\0"))) {
      throw new TypeError("application: a text of it holds a NUL byte");
    }
    this.#elements = `${elements.join("\0")}\0`;
  }

  /** The array message `getTagged` or `getKept`, or `getSticky` if there is a token. */
  encodeGet(tag: string, command: "getTagged" | "getKept", token?: string): Uint8Array {
    if (token === undefined) return encodePayload(`${command}\0${tag}\0${this.#elements}`);
    return encodePayload(`getSticky\0${tag}\0${token}\0${this.#elements}`);
  }
}

/** The bytes of an application root. @throws TypeError when there are none. */
export function rootBytes(root: string | Uint8Array): ByteString {
  const bytes = typeof root === "string" ? fromText(root) : fromBytes(root);
  if (bytes.length === 0) throw new TypeError("application: its root is empty");
  return bytes;
}
