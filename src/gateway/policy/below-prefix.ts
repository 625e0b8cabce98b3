/**
 * Pages that are missing below an application's prefix. Where the application has none at the
 * prefix itself, the visitor is sent to the same with a slash, as web servers do for directories:
 * pages there have links that start from it. And whoever develops a program that sees the whole
 * path, as all but those of Ruby and Python do, is told so.
 */
import type { AnswerHead } from "../../wire/answer-head.ts";
import type { AppConfig } from "../config.ts";

/** A request, as far as it matters here. */
interface Asked {
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: { readonly text: string; readonly path: string };
  /** The prefix; empty at the root. */
  readonly script: string;
  /** The rest of the path. */
  readonly below: string;
}

/** The answer, or the way to the same with a slash; its body stays. */
export function withSlash(head: AnswerHead, { method, target, script, below }: Asked): AnswerHead {
  const isRead = method === "GET" || method === "HEAD";
  if (head.status !== 404 || script === "" || below !== "" || !isRead) return head;
  const { path, text } = target;
  // Not for good: it may have such a page tomorrow.
  const lines = `${head.lines}Location: ${path}/${text.slice(path.length)}\r\n`;
  return { ...head, status: 302, reason: "Found", lines };
}

/** Whether its developer may wonder about a 404. */
export function mayWonder(status: number, script: string, { type, environment }: AppConfig) {
  const seesWholePath = ["node", "bun", "command", "auto"].includes(type);
  return status === 404 && script !== "" && environment === "development" && seesWholePath;
}
