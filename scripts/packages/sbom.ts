/**
 * The bill of materials of one build, as CycloneDX 1.6 in JSON: what the program is made of, with
 * the contents that the lock file pins and the licences each states.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import manifest from "../../package.json";
import { architectures, type Build, packageName, ROOT } from "./contents.ts";
import { linkedLibraries } from "./licences.ts";

interface BunLock {
  /** Name → [name@version, address, details, integrity]. */
  readonly packages: Readonly<Record<string, readonly [string, string, object, string]>>;
}

/** A package of the registry, by what the lock file says of it. */
function pinned(name: string) {
  const lock = Bun.JSON5.parse(readFileSync(join(ROOT, "bun.lock"), "utf8")) as BunLock;
  const [full = "", , , integrity = ""] = lock.packages[name] ?? [];
  const version = full.slice(name.length + 1);
  if (version === "") throw new Error(`write the bill of materials: bun.lock pins no ${name}`);
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const content = Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex");
  return { "bom-ref": purl, name, version, purl, hashes: [{ alg: "SHA-512", content }] };
}

const mit = [{ license: { id: "MIT" } }];

/** @returns the document's text. */
export function billOfMaterials({ target, version, executable }: Build): string {
  const runtime = pinned(architectures[target].runtime);
  const libraries = Object.keys(manifest.dependencies).map(pinned);
  const { npm } = architectures[target];
  const self = `pkg:generic/${packageName}@${version.number}?arch=${npm}&os=linux`;
  const sha256 = createHash("sha256").update(readFileSync(executable)).digest("hex");
  const linked = [
    { name: "JavaScriptCore", url: "https://github.com/oven-sh/WebKit", licence: "LGPL-2.0" },
    ...linkedLibraries(),
  ];
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(sha256)}`,
    version: 1,
    metadata: {
      timestamp: new Date(version.epochSeconds * 1000).toISOString(),
      component: {
        type: "application",
        "bom-ref": self,
        name: packageName,
        version: version.text,
        purl: self,
        licenses: mit,
        hashes: [{ alg: "SHA-256", content: sha256 }],
      },
    },
    components: [
      {
        type: "platform",
        description: "The runtime that the program contains",
        licenses: mit,
        ...runtime,
        components: linked.map(({ name, url, licence }) => ({
          type: "library",
          "bom-ref": `${runtime.purl}#${name}`,
          name,
          licenses: [{ license: { name: licence } }],
          externalReferences: [{ type: "website", url }],
        })),
      },
      ...libraries.map((library) => ({ type: "library", licenses: mit, ...library })),
    ],
    dependencies: [
      { ref: self, dependsOn: [runtime.purl, ...libraries.map(({ purl }) => purl)] },
      { ref: runtime.purl, dependsOn: linked.map(({ name }) => `${runtime.purl}#${name}`) },
      ...libraries.map(({ purl }) => ({ ref: purl, dependsOn: [] })),
    ],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** The same for the same program (RFC 9562, version 8: whatever its maker likes). */
function uuidOf(sha256: string): string {
  const [a, b, c, d, e] = [0, 8, 13, 17, 20].map((from, index) =>
    sha256.slice(from, from + ([8, 4, 3, 3, 12][index] ?? 0)),
  );
  return `${a}-${b}-8${c}-8${d}-${e}`;
}
