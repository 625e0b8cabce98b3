/** What a connection makes of bytes in pieces: the requests that came whole, and its end. */
import { Connection, type VisitorEvent } from "../../src/http/connection.ts";
import { FieldNames } from "../../src/wire/field-names.ts";
import { refusals } from "../../src/http/refusals.ts";
import type { RequestHead } from "../../src/http/request-head.ts";

export interface FramedRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly minor: number;
  /** Names in lower case and values, in their order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** One character per byte. */
  readonly body: string;
}

export interface Framed {
  readonly requests: readonly FramedRequest[];
  /** The rule by which something was refused, `left within …`, or `closed` after an answer. */
  readonly end: string;
}

const names = new FieldNames();
const maxHeadBytes = 16 * 1024;

/** Each request is answered at once when it is whole. */
export function frame(pieces: readonly Uint8Array[]): Framed {
  const connection = new Connection(names, maxHeadBytes);
  const requests: FramedRequest[] = [];
  let head: RequestHead | undefined;
  let body = "";
  let end = "";
  const finish = (whole: RequestHead): void => {
    requests.push(requestOf(whole, body));
    head = undefined;
    body = "";
    connection.begin(false);
    if (!connection.finish()) end = "closed";
  };
  const take = (event: VisitorEvent): void => {
    if (event.kind === "request") {
      head = event.head;
      if (event.head.framing.kind === "none") finish(event.head);
    } else if (event.kind === "data") body += Buffer.from(event.bytes).toString("latin1");
    else if (event.kind === "end" && head !== undefined) finish(head);
    else if (event.kind === "refused") {
      end = Object.entries(refusals).find(([, rule]) => rule === event.refusal)?.[0] ?? "unknown";
    } else if (event.kind === "left") end = `left within ${event.within}`;
  };
  const takeAll = (): void => {
    for (let event = connection.next(); event !== undefined; event = connection.next()) take(event);
  };
  for (const piece of pieces) {
    // A copy: what is read from a socket is used again.
    connection.receive(Buffer.from(piece));
    takeAll();
  }
  connection.end();
  takeAll();
  return { requests, end };
}

function requestOf(head: RequestHead, body: string): FramedRequest {
  const { names: sent, values } = head.fields;
  const fields = sent.map(({ lowerCase }, at) => [lowerCase, values[at] ?? ""] as const);
  return { method: head.method, target: head.target.text, minor: head.minor, fields, body };
}
