/**
 * A WebSocket over a session (PROTOCOL section 11, "Upgrades"): its handshake as the front end asks
 * for it, and frames of text (RFC 6455, 5), byte for byte.
 */
import { expect } from "bun:test";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { readExactly, sendAll } from "../helpers/raw-client.ts";
import { readHead } from "./kept-answers.ts";
import { get } from "./support.ts";

/** A request for another protocol. */
export function upgrade(protocol: string, variables: Readonly<Record<string, string>> = {}) {
  return get({
    SESSION_KEEP: "1",
    HTTP_HOST: "app.test",
    HTTP_CONNECTION: "keep-alive, Upgrade",
    HTTP_UPGRADE: protocol,
    ...variables,
  });
}

/** One for a WebSocket. The key is that of RFC 6455's example. */
export function webSocketRequest(path: string, variables: Readonly<Record<string, string>> = {}) {
  return upgrade("websocket", {
    REQUEST_URI: path,
    HTTP_SEC_WEBSOCKET_KEY: "dGhlIHNhbXBsZSBub25jZQ==",
    HTTP_SEC_WEBSOCKET_VERSION: "13",
    ...variables,
  });
}

export class WebSocketSession {
  readonly #session: OwnedFd;

  private constructor(session: OwnedFd) {
    this.#session = session;
  }

  /** Asks for it on a fresh session, which is owned here from now on. */
  static async open(session: OwnedFd, request: Uint8Array): Promise<WebSocketSession> {
    await sendAll(session.number, request);
    const head = await readHead(session);
    expect(head).toMatch(/^(HTTP\/1\.1 |Status: )101 /);
    expect(head.toLowerCase()).toContain("\r\nupgrade: websocket\r\n");
    expect(head).toContain("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    return new WebSocketSession(session);
  }

  get fd(): number {
    return this.#session.number;
  }

  async send(text: string): Promise<void> {
    await sendAll(this.fd, frame(1, Buffer.from(text)));
  }

  /** The text of the next frame; of a closing one `closed` and its code. */
  async receive(): Promise<string> {
    const [first = 0, second = 0] = await this.#bytes(2);
    const length = await this.#length(second & 127);
    const payload = await this.#bytes(length);
    if ((first & 15) !== 8) return payload.toString();
    return length < 2 ? "closed" : `closed ${payload.readUInt16BE()}`;
  }

  async #length(short: number): Promise<number> {
    if (short < 126) return short;
    const bytes = await this.#bytes(short === 126 ? 2 : 8);
    return short === 126 ? bytes.readUInt16BE() : Number(bytes.readBigUInt64BE());
  }

  async #bytes(length: number): Promise<Buffer> {
    return Buffer.from(await readExactly(this.fd, length), "latin1");
  }

  /** Says that it is to end. */
  async finish(): Promise<void> {
    await sendAll(this.fd, frame(8, Buffer.from([3, 232])));
  }

  close(): void {
    this.#session.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** As a client sends it: masked, by a mask that changes nothing. */
function frame(opcode: number, payload: Uint8Array): Uint8Array {
  const mask = [0, 0, 0, 0];
  if (payload.length < 126) {
    return Buffer.concat([Buffer.from([128 | opcode, 128 | payload.length, ...mask]), payload]);
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(payload.length));
  const start = Buffer.from([128 | opcode, 255]);
  return Buffer.concat([start, length, Buffer.from(mask), payload]);
}
