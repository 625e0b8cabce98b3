/** OwnedFd: who closes what, and how often. */
import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";

import { isOpen } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { countDescriptors } from "../helpers/descriptors.ts";

countDescriptors();

function openSomething(): number {
  return openSync("/dev/null", "r");
}

test("closes its descriptor at the end of its block", () => {
  const fd = openSomething();
  {
    using held = new OwnedFd(fd);
    expect(isOpen(held.number)).toBe(true);
  }
  expect(isOpen(fd)).toBe(false);
});

test("closing twice leaves the descriptor that has taken the number since alone", () => {
  const held = new OwnedFd(openSomething());
  const number = held.number;
  held.close();
  const successor = openSomething();
  expect(successor).toBe(number);
  held.close();
  expect(isOpen(successor)).toBe(true);
  closeSync(successor);
});

test("a descriptor that was taken out is no longer closed", () => {
  let taken: number;
  {
    using held = new OwnedFd(openSomething());
    taken = held.take();
    expect(held.open).toBe(false);
  }
  expect(isOpen(taken)).toBe(true);
  closeSync(taken);
});

test("using or taking a descriptor that is not there any more throws", () => {
  const held = new OwnedFd(openSomething());
  held.close();
  expect(() => held.number).toThrow("after it was moved or closed");
  expect(() => held.take()).toThrow("after it was moved or closed");
});

test("refuses what cannot be a descriptor", () => {
  for (const wrong of [-1, 1.5, Number.NaN]) {
    expect(() => new OwnedFd(wrong)).toThrow(`not a descriptor: ${wrong}`);
  }
});
