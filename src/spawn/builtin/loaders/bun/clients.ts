/** Who sent a Request, as the front end tells: what `requestIP` answers. Runs inside instances. */

export interface ClientAddress {
  readonly address: string;
  readonly port: number;
  readonly family: "IPv4" | "IPv6";
}

const clients = new WeakMap<Request, ClientAddress>();

/** The header that tells it to Bun's own server; taken away before the program sees it. */
export const addressHeader = "x-application-pool-client";

/** @param address empty: the front end does not tell. */
export function rememberClient(request: Request, address: string, port: string): void {
  if (address !== "") clients.set(request, clientAddress(address, port));
}

export function clientOf(request: Request): ClientAddress | null {
  return clients.get(request) ?? null;
}

/** As the first line of a head, also where it is not told: a visitor may send such a line too. */
export function addressLine(address: string, port: string): string {
  return `${addressHeader}: ${address || "-"} ${port || "0"}\r\n`;
}

/** Takes the header from a Request that Bun's server has made. */
export function takeClient(request: Request): void {
  const { headers } = request;
  const [address = "-", port = ""] = headers.get(addressHeader)?.split(" ") ?? [];
  headers.delete(addressHeader);
  if (address !== "-") rememberClient(request, address, port);
}

export function clientAddress(address: string, port: string): ClientAddress {
  return {
    address,
    port: Number.parseInt(port, 10) || 0,
    family: address.includes(":") ? "IPv6" : "IPv4",
  };
}
