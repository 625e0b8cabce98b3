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

test("what bun.lock pins, package-lock.json pins to the same version and contents", () => {
  for (const [name, [pinned, , , integrity]] of Object.entries(bunLock.packages)) {
    const npm = npmPackages.get(name);
    // A package of which there are two versions lies below the one that wants it: `ajv/fast-uri`.
    expect(`${name}@${npm?.version}`.endsWith(pinned)).toBe(true);
    expect(npm?.integrity).toBe(integrity);
  }
});

test("what package-lock.json pins beyond bun.lock is for systems the server does not run on", () => {
  const beyond = [...npmPackages].filter(([name]) => bunLock.packages[name] === undefined);
  for (const [name, entry] of beyond) {
    const foreign = entry.os?.includes("linux") !== true || !/-(x64|arm64)-gnu$/.test(name);
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
