/** Answers on kept sessions (PROTOCOL section 11), which say themselves where they end. */
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { readExactly } from "../helpers/raw-client.ts";

/** Everything to the end of a head. */
export async function readHead(session: OwnedFd): Promise<string> {
  let text = "";
  while (!text.endsWith("\r\n\r\n")) text += await readExactly(session.number, 1);
  return text;
}

/** The next answer on a session: its head, and its body by the framing that this names. */
export async function nextAnswer(session: OwnedFd): Promise<{ head: string; body: string }> {
  const head = await readHead(session);
  const length = /content-length: (\d+)/i.exec(head)?.[1];
  if (length !== undefined) {
    return { head, body: await readExactly(session.number, Number(length)) };
  }
  if (!/transfer-encoding: chunked/i.test(head)) return { head, body: "" };
  let body = "";
  for (;;) {
    let line = "";
    while (!line.endsWith("\r\n")) line += await readExactly(session.number, 1);
    const chunk = await readExactly(session.number, parseInt(line, 16) + 2);
    if (chunk === "\r\n") return { head, body };
    body += chunk.slice(0, -2);
  }
}
