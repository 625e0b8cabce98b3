// The two lock files serve two package managers and must describe the same packages.

import { expect, test } from "bun:test";
import { join } from "node:path";
import manifest from "../../package.json";
import { ROOT } from "./tree.ts";

interface NpmPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}
interface NpmLock {
  readonly packages: Readonly<Record<string, NpmPackage>>;
}
interface BunLock {
  /** Name → [name@version, address, details, integrity]. */
  readonly packages: Readonly<Record<string, readonly [string, string, object, string]>>;
}

const npmLock = (await Bun.file(join(ROOT, "package-lock.json")).json()) as NpmLock;
// bun.lock is JSON with trailing commas, which JSON5 reads.
const bunLock = Bun.JSON5.parse(await Bun.file(join(ROOT, "bun.lock")).text()) as BunLock;

const npmPackages = new Map(
  Object.entries(npmLock.packages)
    .filter(([path]) => path !== "")
    .map(([path, entry]) => [path.replaceAll("node_modules/", ""), entry]),
);

test("every dependency is pinned to one exact version", () => {
  const all = { ...manifest.dependencies, ...manifest.devDependencies };
  const loose = Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
  expect(loose).toEqual([]);
});

test("both lock files pin what package.json asks for", () => {
  for (const [name, version] of Object.entries({
    ...manifest.dependencies,
    ...manifest.devDependencies,
  })) {
    expect(bunLock.packages[name]?.[0]).toBe(`${name}@${version}`);
    expect(npmPackages.get(name)?.version).toBe(version);
  }
});

/** What each pins, wherever below another package it puts it: `name@version integrity`. */
const bunPins = new Set(
  Object.values(bunLock.packages).map(([pinned, , , integrity]) => `${pinned} ${integrity}`),
);
const npmPins = new Map(
  Object.entries(npmLock.packages).map(([path, entry]) => {
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    return [`${name}@${entry.version} ${entry.integrity}`, { ...entry, name }];
  }),
);

test("what bun.lock pins, package-lock.json pins to the same version and contents", () => {
  expect([...bunPins].filter((pin) => !npmPins.has(pin))).toEqual([]);
});

test("what package-lock.json pins beyond bun.lock is for systems the server does not run on", () => {
  const beyond = [...npmPins].filter(([pin, { integrity }]) => integrity && !bunPins.has(pin));
  for (const [, { name, os }] of beyond) {
    const foreign = os?.includes("linux") !== true || !/-(x64|arm64)-gnu$/.test(name);
    expect({ name, foreign }).toEqual({ name, foreign: true });
  }
});

test("neither lock file holds the address of a registry", () => {
  expect(Object.values(bunLock.packages).filter(([, address]) => address !== "")).toEqual([]);
  expect([...npmPackages.values()].filter(({ resolved }) => resolved !== undefined)).toEqual([]);
});

test("the only dependency at run time is the one that parses command lines", () => {
  expect(Object.keys(manifest.dependencies)).toEqual(["citty"]);
});
