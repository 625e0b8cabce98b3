/**
 * Every raw request gets the answer that is written beside it, and reaches the application as it
 * should or not at all; none hangs. docs/http.md has the same table.
 */
import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { exchange, type Exchanged } from "./raw-exchange.ts";
import { bodySections } from "./raw-body-cases.ts";
import type { RawCase } from "./raw-case.ts";
import { headSections } from "./raw-head-cases.ts";
import { configOf, Gateway, type Reached } from "./support.ts";

const rawSections = [...bodySections, ...headSections];

interface Outcome extends Exchanged {
  readonly reached: readonly Reached[];
}

const patienceMs = 25_000;

const outcomes = new Map<string, Promise<Outcome>>();

// All at once: the slow ones take their time together.
beforeAll(() => {
  for (const { cases } of rawSections) {
    for (const raw of cases) {
      const outcome = run(raw);
      outcome.catch(() => {}); // The case's own test says it.
      outcomes.set(raw.title, outcome);
    }
  }
});

async function run({ sent, workMs = 0 }: RawCase): Promise<Outcome> {
  const limits = {
    maxHeaderBytes: 16_384,
    maxBodyBytes: 65_536,
    headMs: 3_000,
    idleMs: 1_000,
    queueMs: 0,
    responseMs: 0,
  };
  const site = new Gateway(configOf({ limits }));
  site.behave = () => Bun.sleep(workMs).then(() => undefined);
  try {
    const steps = typeof sent === "string" ? [sent] : sent;
    const { answered, closed } = await exchange(site.port, steps, undefined, patienceMs);
    return { answered, closed, reached: site.reached };
  } finally {
    site.stop();
  }
}

/** But for 102, which asks who has closed his side and waits for a while whether he is there. */
function statusesOf(answered: string): number[] {
  const statuses = [...answered.matchAll(/HTTP\/1\.1 (\d{3}) /g)];
  return statuses.map(([, status]) => Number(status)).filter((status) => status !== 102);
}

for (const { title: section, cases } of rawSections) {
  for (const raw of cases) {
    test(`${section}: ${raw.title}`, async () => {
      const outcome = await outcomes.get(raw.title);
      if (outcome === undefined) throw new Error("two cases have one title");
      const { answered, reached, closed } = outcome;
      expect({ answers: statusesOf(answered), answered }).toEqual({
        answers: [...raw.answers],
        answered,
      });
      expect(closed).toBe(true);
      const texts = reached.map(({ method, target, body }) => `${method} ${target} ${body}`);
      expect(texts).toEqual([...(raw.reached ?? [])]);
      if (raw.header !== undefined) {
        const [name, value] = raw.header;
        expect(reached[0]?.headers[name]).toBe(value as string);
      }
    });
  }
}

test("docs/http.md has the same table", () => {
  const titles = rawSections.flatMap(({ cases }) => cases.map(({ title }) => title));
  expect(new Set(titles).size).toBe(titles.length);
  expect(titles.length).toBeGreaterThan(60);
  const rows = rowsOf(readFileSync(join(import.meta.dir, "../../docs/http.md"), "utf8"));
  for (const raw of rawSections.flatMap(({ cases }) => cases)) {
    expect([raw.title, rows.get(raw.title)]).toEqual([raw.title, rowOf(raw)]);
  }
});

/** The tables' rows by their first cells. */
function rowsOf(document: string): Map<string, string> {
  const lines = document.split("\n").filter((line) => line.startsWith("|"));
  const cells = lines.map((line) =>
    line
      .slice(1, -1)
      .split(" | ")
      .map((cell) => cell.trim()),
  );
  return new Map(cells.map(([title = "", ...others]) => [title, others.join(" | ")]));
}

/** A case's second and third column. */
function rowOf({ answers, reached = [] }: RawCase): string {
  const answer = answers.length === 0 ? "closed" : answers.join(", ");
  const texts = reached.map((text) => `\`${shown(text.trimEnd())}\``);
  return `${answer} | ${texts.join(", ") || "nothing"}`;
}

/** Bytes above 127 as escapes. */
function shown(text: string): string {
  return text.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}
