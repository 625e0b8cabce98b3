/** What follows a status where nobody gave a text (RFC 9110, 15: the registered reasons). */
import { STATUS_CODES } from "node:http";

export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? "";
}
