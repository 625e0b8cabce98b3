// The containers under the pool, each against an array that is sorted or searched anew every time.

import { describe, expect, test } from "bun:test";
import { Heap, HeapEntry } from "../../src/pool/heap.ts";
import { type InLine, Line } from "../../src/pool/line.ts";
import { Link, List } from "../../src/pool/list.ts";
import { LoadOrder } from "../../src/pool/load-order.ts";
import { IdTable } from "../../src/wire/id-table.ts";

/** Numbers that look random and are the same every time. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

describe("a list", () => {
  test("keeps its order through joining at both ends and leaving anywhere", () => {
    const next = sequence(1);
    const list = new List<number>();
    const links = Array.from({ length: 8 }, (_, n) => new Link(n));
    let expected: number[] = [];
    for (let step = 0; step < 5000; step++) {
      const link = links[next(links.length)];
      if (link === undefined) throw new Error("no such link");
      if (link.list !== undefined) {
        list.remove(link);
        expected = expected.filter((owner) => owner !== link.owner);
      } else if (next(2) === 0) {
        list.pushFront(link);
        expected.unshift(link.owner);
      } else {
        list.pushBack(link);
        expected.push(link.owner);
      }
      expect([...list]).toEqual(expected);
      expect([list.first, list.last, list.size]).toEqual([
        expected[0],
        expected.at(-1),
        expected.length,
      ]);
    }
  });

  test("refuses a link that is in a list already, and one that is not in it", () => {
    const list = new List<number>();
    const link = new Link(1);
    expect(() => list.remove(link)).toThrow("not in this list");
    list.pushBack(link);
    expect(() => list.pushFront(link)).toThrow("in a list already");
    expect(() => new List<number>().pushBack(link)).toThrow("in a list already");
    expect(() => new List<number>().remove(link)).toThrow("not in this list");
  });

  test("may lose the one at hand while it is walked", () => {
    const list = new List<number>();
    const links = [1, 2, 3].map((owner) => new Link(owner));
    for (const link of links) list.pushBack(link);
    const seen: number[] = [];
    for (const owner of list) {
      seen.push(owner);
      const link = links[owner - 1];
      if (link !== undefined) list.remove(link);
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(list.size).toBe(0);
  });
});

describe("a heap", () => {
  test("has the smallest key first through changes, removals and moves to another heap", () => {
    const next = sequence(2);
    const heaps = [new Heap<number>(), new Heap<number>()] as const;
    const entries = Array.from({ length: 40 }, (_, n) => new HeapEntry(n));
    for (let step = 0; step < 20_000; step++) {
      const entry = entries[next(entries.length)];
      const heap = heaps[next(2)];
      if (entry === undefined || heap === undefined) throw new Error("no such entry");
      if (next(3) === 0) heap.remove(entry);
      else heap.set(entry, next(50));
      for (const each of heaps) {
        const keys = entries.filter((other) => other.heap === each).map(({ key }) => key);
        expect(each.size).toBe(keys.length);
        expect(each.first?.key).toBe(keys.toSorted((a, b) => a - b)[0]);
      }
    }
  });
});

describe("a table by number", () => {
  test("has what a Map has, whatever came and went, and however large the numbers are", () => {
    for (const first of [0, 2 ** 31 - 500, 2 ** 40]) {
      const next = sequence(3);
      const table = new IdTable<number, { readonly id: number }>();
      const expected = new Map<number, { readonly id: number }>();
      for (let step = 0; step < 4000; step++) {
        // First it grows, then it is emptied; some stay long.
        if (next(5) < (step < 2000 ? 3 : 1)) {
          const one = { id: first + step };
          table.add(one);
          expected.set(one.id, one);
        } else {
          const id = first + next(step + 1);
          table.delete(id);
          expected.delete(id);
        }
        const id = first + next(step + 1);
        expect(table.get(id)).toBe(expected.get(id) as { readonly id: number });
        expect(table.size).toBe(expected.size);
      }
      expect(table.values().toSorted((a, b) => a.id - b.id)).toEqual([...expected.values()]);
    }
  });

  test("numbers that follow each other lie apart, so that the next is found at once", () => {
    const looked: number[] = [];
    const table = new IdTable<number, { readonly id: number }>();
    for (let id = 0; id < 10_000; id++) {
      table.add({
        get id() {
          looked.push(id);
          return id;
        },
      });
    }
    looked.length = 0;
    for (let id = 10_000; id < 11_000; id++) table.get(id);
    expect(looked.length).toBeLessThan(3000);
  });
});

describe("the order by load", () => {
  test("has the fewest sessions first and among equals the one that joined last", () => {
    const next = sequence(3);
    const order = new LoadOrder<number>();
    const links = Array.from({ length: 12 }, (_, n) => new Link(n));
    let expected: { owner: number; sessions: number; joined: number }[] = [];
    for (let step = 0; step < 10_000; step++) {
      const link = links[next(links.length)];
      if (link === undefined) throw new Error("no such link");
      if (link.list !== undefined) {
        order.remove(link);
        expected = expected.filter(({ owner }) => owner !== link.owner);
      } else {
        const sessions = next(next(20) === 0 ? 200 : 6);
        order.add(link, sessions);
        expected.push({ owner: link.owner, sessions, joined: step });
      }
      const sorted = expected.toSorted((a, b) => a.sessions - b.sessions || b.joined - a.joined);
      expect([...order]).toEqual(sorted.map(({ owner }) => owner));
      expect([order.first, order.size]).toEqual([sorted[0]?.owner, sorted.length]);
      expect(order.find((owner) => owner > 5)).toBe(sorted.find(({ owner }) => owner > 5)?.owner);
    }
  });
});

class Person implements InLine<Person> {
  readonly id: number;
  previous: Person | undefined;
  next: Person | undefined;
  covered = false;

  constructor(id: number) {
    this.id = id;
  }
}

describe("a line", () => {
  test("stands in order of arrival, and its mark is where it was put", () => {
    const next = sequence(4);
    const line = new Line<Person>();
    const people = Array.from({ length: 12 }, (_, id) => new Person(id));
    let standing: Person[] = [];
    for (let step = 0; step < 10_000; step++) {
      const person = people[next(people.length)];
      if (person === undefined) throw new Error("no such person");
      if (standing.includes(person)) {
        line.remove(person);
        standing = standing.filter((other) => other !== person);
      } else {
        line.add(person);
        standing = [...standing, person].toSorted((a, b) => a.id - b.id);
      }
      const marked = standing.filter(({ covered }) => covered).length;
      expect(standing.map(({ covered }) => covered).lastIndexOf(true)).toBe(marked - 1);
      expect(line.firstUncovered).toBe(standing[marked]);
      const count = next(15);
      line.cover(count);
      expect([...line].map(({ id }) => id)).toEqual(standing.map(({ id }) => id));
      expect(standing.filter(({ covered }) => covered)).toEqual(standing.slice(0, count));
      expect([line.first, line.size, line.firstUncovered]).toEqual([
        standing[0],
        standing.length,
        standing[count],
      ]);
      const before = standing.filter(({ id }) => id < 6).length;
      expect(line.countBefore(6, 4)).toBe(Math.min(4, before));
    }
  });
});
