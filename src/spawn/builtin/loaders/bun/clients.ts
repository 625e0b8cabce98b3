/** Who sent a Request, as the front end tells: what `requestIP` answers. Runs inside instances. */

export interface ClientAddress {
  readonly address: string;
  readonly port: number;
  readonly family: "IPv4" | "IPv6";
}

const clients = new WeakMap<Request, ClientAddress>();

/** @param address empty: the front end does not tell. */
export function rememberClient(request: Request, address: string, port: string): void {
  if (address === "") return;
  const family = address.includes(":") ? "IPv6" : "IPv4";
  clients.set(request, { address, port: Number(port), family });
}

export function clientOf(request: Request): ClientAddress | null {
  return clients.get(request) ?? null;
}
