/** Giving up the pages of the program's own code. */
import { expect, test } from "bun:test";

const script = `
  import { readFileSync } from "node:fs";
  import { giveUpCode } from "${import.meta.dir}/../../src/native/own-text.ts";
  const residentKiB = () => {
    let sum = 0;
    let isCode = false;
    for (const line of readFileSync("/proc/self/smaps", "latin1").split("\\n")) {
      if (/^[0-9a-f]+-/.test(line)) isCode = / (r-xp|r--p 0+ ).* \\//.test(line);
      else if (isCode && line.startsWith("Rss:")) sum += Number(/\\d+/.exec(line));
    }
    return sum;
  };
  // What has been compiled at run time must go on as well, and what is called for the first time.
  const add = (from) => {
    let sum = 0;
    for (let i = from; i < 1e6; i += 1) sum += i % 7;
    return sum;
  };
  const before = residentKiB();
  const sums = new Set([add(0)]);
  for (let turn = 0; turn < 20; turn += 1) {
    giveUpCode();
    Bun.gc(true);
    sums.add(add(0));
  }
  giveUpCode();
  const after = residentKiB();
  const number = new Intl.NumberFormat("en").format(1234.5);
  const late = number + JSON.stringify(structuredClone({ a: [1] }));
  console.log(JSON.stringify({ before, after, sums: sums.size, late }));`;

test("what is given up comes back when it is used, and less of it", async () => {
  const child = Bun.spawn([process.execPath, "-e", script], { stderr: "inherit" });
  const said = (await child.stdout.json()) as { before: number; after: number };
  expect(said).toMatchObject({ sums: 1, late: '1,234.5{"a":[1]}' });
  expect(said.after).toBeLessThan(said.before);
  expect(await child.exited).toBe(0);
});
