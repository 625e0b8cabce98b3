/** The parent's end of the pair whose other end is the server's descriptor 3. */
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { nextDescriptor, RawClient, sendAll } from "./raw-client.ts";

export class ParentEnd {
  readonly #fd: OwnedFd;
  readonly #clients: RawClient[] = [];

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  get fd(): number {
    return this.#fd.number;
  }

  /** Asks for connections: one a byte. */
  async wake(count = 1): Promise<void> {
    await sendAll(this.fd, new Uint8Array(count).fill(33));
  }

  /** Takes a connection that was asked for. */
  async take(): Promise<RawClient> {
    const client = new RawClient(await nextDescriptor(this.fd));
    this.#clients.push(client);
    return client;
  }

  async connect(): Promise<RawClient> {
    await this.wake();
    return this.take();
  }

  /** Disconnects every client that was taken. */
  closeClients(): void {
    for (const client of this.#clients.splice(0)) client.close();
  }

  close(): void {
    this.#fd.close();
  }
}
