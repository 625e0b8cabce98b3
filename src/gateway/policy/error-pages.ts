/**
 * Answers of our own when there is no other: a small page for browsers, two lines of text for all
 * others. They name the request's id, so that it can be found in logs, and nothing of the inside.
 */
import { STATUS_CODES } from "node:http";

interface ErrorAnswer {
  readonly status: number;
  /** A sentence without its full stop. */
  readonly reason: string;
  readonly id: string;
  /** The visitor's Accept header. */
  readonly accept: string | null;
}

export interface WholeAnswer {
  readonly status: number;
  /** Header lines, each with its line end, without those that say where the body ends. */
  readonly fields: string;
  readonly body: Uint8Array;
}

export function errorAnswer(answer: ErrorAnswer): WholeAnswer {
  const title = `${answer.status} ${STATUS_CODES[answer.status] ?? "Error"}`;
  const wantsPage = answer.accept?.includes("text/html") ?? false;
  return {
    status: answer.status,
    fields:
      `Content-Type: text/${wantsPage ? "html" : "plain"}; charset=utf-8\r\n` +
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
    body: Buffer.from(wantsPage ? page(title, answer) : text(title, answer)),
  };
}

function text(title: string, { reason, id }: ErrorAnswer): string {
  return `${title}: ${reason}.\nRequest id: ${id}\n`;
}

function page(title: string, { reason, id }: ErrorAnswer): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem; }
small { opacity: .6; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee; } }
</style>
<h1>${title}</h1>
<p>${sentence(Bun.escapeHTML(reason))}</p>
<p><small>Request id: ${Bun.escapeHTML(id)}</small></p>
</html>
`;
}

function sentence(reason: string): string {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}
