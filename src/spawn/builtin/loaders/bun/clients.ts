/** Who sent a Request, as the front end tells: what `requestIP` answers. Runs inside instances. */

import { makeNotes } from "./notes.ts";

export interface ClientAddress {
  readonly address: string;
  readonly port: number;
  readonly family: "IPv4" | "IPv6";
}

/** As the front end says it: few programs ask. */
const clients = makeNotes<{ readonly address: string; readonly port: string }>();

/**
 * The header that tells it to Bun's own server; taken away before the program sees it. Nobody else
 * knows its name.
 */
const addressHeader = `x-client-${crypto.randomUUID()}`;

/** @param address empty: the front end does not tell. */
export function rememberClient(request: Request, address: string, port: string): void {
  if (address !== "") clients.set(request, { address, port });
}

export function clientOf(request: Request): ClientAddress | null {
  const said = clients.get(request);
  return said === undefined ? null : clientAddress(said.address, said.port);
}

/** As a line of a head; nothing, where it is not told. */
export function addressLine(address: string, port: string): string {
  return address === "" ? "" : `${addressHeader}: ${address} ${port || "0"}\r\n`;
}

/** Takes the header from a Request that Bun's server has made. */
export function takeClient(request: Request): void {
  const { headers } = request;
  const [address = "", port = ""] = headers.get(addressHeader)?.split(" ") ?? [];
  if (address === "") return;
  headers.delete(addressHeader);
  rememberClient(request, address, port);
}

/** Whose request is upgraded: Bun's own server calls a program's `open` meanwhile. */
let upgrading: ClientAddress | null = null;

/** What of Bun's Server opens WebSockets. */
interface Upgrader {
  upgrade(request: Request, options?: object): boolean;
}

/** From now on the server's WebSockets show their client, if their handlers are `whoShow`. */
export function showClientsToWebSockets(server: Upgrader): void {
  const upgrade = server.upgrade.bind(server);
  server.upgrade = (request, options) => {
    upgrading = clientOf(request);
    try {
      return upgrade(request, options);
    } finally {
      upgrading = null;
    }
  };
}

/** A program's handlers of WebSockets, which show their client where the socket is. */
export function whoShow(handlers: { readonly open?: (this: unknown, socket: object) => unknown }) {
  const open = function (this: unknown, socket: object): unknown {
    const value = upgrading?.address;
    if (value !== undefined) {
      Object.defineProperty(socket, "remoteAddress", { configurable: true, value });
    }
    return handlers.open?.call(this, socket);
  };
  return Object.assign(Object.create(handlers), { open }) as typeof handlers;
}

/** What of node:http's requests is changed here. */
interface NodeRequest {
  readonly headers: Record<string, string | undefined>;
  readonly rawHeaders: string[];
  readonly socket: object;
}

/** From now on requests of node:http show their client where the socket is. */
export function showClientsToNode(): void {
  const { prototype } = (require("node:http") as typeof import("node:http")).Server;
  type Emit = (this: unknown, ...values: unknown[]) => boolean;
  const emit = Reflect.get(prototype, "emit") as unknown as Emit;
  prototype.emit = function (this: unknown, event: string, ...values: unknown[]): boolean {
    if (event === "request" || event === "upgrade") takeNodeClient(values[0] as NodeRequest);
    return emit.call(this, event, ...values);
  } as typeof prototype.emit;
}

function takeNodeClient({ headers, rawHeaders, socket }: NodeRequest): void {
  const [address, port = ""] = headers[addressHeader]?.split(" ") ?? [];
  if (address === undefined) return;
  delete headers[addressHeader];
  rawHeaders.splice(rawHeaders.map((text) => text.toLowerCase()).indexOf(addressHeader), 2);
  const client = clientAddress(address, port);
  const values = [client.address, client.port, client.family];
  for (const [index, name] of ["remoteAddress", "remotePort", "remoteFamily"].entries()) {
    Object.defineProperty(socket, name, { configurable: true, value: values[index] });
  }
}

function clientAddress(address: string, port: string): ClientAddress {
  return {
    address,
    port: Number.parseInt(port, 10) || 0,
    family: address.includes(":") ? "IPv6" : "IPv4",
  };
}
