/**
 * Pages that are missing below an application's prefix. Where the application has none at the
 * prefix itself, the visitor is sent to the same with a slash, as web servers do for directories:
 * pages there have links that start from it. And whoever develops a program that sees the whole
 * path, as all but those of Ruby and Python do, is told so.
 */
import type { AnswerHead } from "../../wire/answer-head.ts";
import type { RoutedRequest } from "../worker/cgi-block.ts";

/** A 404, or in its place the way to the same with a slash; its body stays. */
export function withSlash(answer: AnswerHead, { head, script, below }: RoutedRequest): AnswerHead {
  const isRead = head.method === "GET" || head.method === "HEAD";
  if (script === "" || below !== "" || !isRead) return answer;
  const { path, text } = head.target;
  // Not for good: it may have such a page tomorrow.
  const lines = `${answer.lines}Location: ${path}/${text.slice(path.length)}\r\n`;
  return { ...answer, status: 302, reason: "Found", lines };
}

/** Whether its developer may wonder about a 404. */
export function mayWonder({ script, app: { type, environment } }: RoutedRequest): boolean {
  const seesWholePath = ["node", "bun", "command", "auto"].includes(type);
  return script !== "" && environment === "development" && seesWholePath;
}
