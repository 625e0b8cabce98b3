/** The page that says why an application could not be started. */
import { expect, test } from "bun:test";

import { renderErrorPage, type FailedStart } from "../../src/spawn/builtin/error-page.ts";

function headings(failed: Omit<FailedStart, "root">): string[] {
  const page = Buffer.from(renderErrorPage({ root: "/srv/app", ...failed })).toString();
  return Array.from(page.matchAll(/<h2>(.*)<\/h2>/g), ([, heading = ""]) => heading);
}

test("shows the error with its stack, and what was written besides", () => {
  const failed = { message: "Error: no", detail: "Error: no\n  at x", output: "reading\n" };
  expect(headings(failed)).toEqual(["Error", "Last output"]);
});

test("says nothing twice: most of what fails writes the error and no more", () => {
  const detail = "Error: no\n  at x";
  expect(headings({ message: "Error: no", detail, output: `${detail}\n` })).toEqual(["Error"]);
  expect(headings({ message: "no", detail: "no", output: "no\n" })).toEqual([]);
  expect(headings({ message: "no", output: "no\n" })).toEqual([]);
});

test("escapes what applications say", () => {
  const page = renderErrorPage({ root: "/<b>", message: "<script>", output: "a & b" });
  const text = Buffer.from(page).toString();
  expect(text).not.toMatch(/<b>|<script>/);
  expect(text).toContain("a &amp; b");
});
