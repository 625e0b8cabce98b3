/** Reads OpenMetrics text (version 1.0.0) as a collector does, and is strict about its rules. */
const sampleLine = /^([a-zA-Z_:][\w:]*)(\{[^\n]*\})? (NaN|[+-]?(?:Inf|[0-9.]+(?:e[+-]?[0-9]+)?))$/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y;
const suffixes: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total"],
  gauge: [""],
  info: ["_info"],
  histogram: ["_bucket", "_count", "_sum"],
};

/** `/metrics` of an admin address, as Prometheus asks for it. */
export async function metricsOf(admin: string): Promise<string> {
  const headers = { Accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" };
  return await (await fetch(`${admin}/metrics`, { headers })).text();
}

export interface Exposition {
  /** By name and labels, as they are written. */
  readonly values: ReadonlyMap<string, number>;
  /** Types by their names. */
  readonly families: ReadonlyMap<string, string>;
}

/** @throws Error when it breaks a rule of the format. */
export function readExposition(text: string): Exposition {
  const values = new Map<string, number>();
  const families = new Map<string, string>();
  let family = "";
  if (!text.endsWith("\n# EOF\n")) throw new Error("it does not end in # EOF");
  for (const line of text.slice(0, -"# EOF\n".length).trimEnd().split("\n")) {
    const [, what, name = "", rest = ""] = /^# (TYPE|UNIT|HELP) (\S+) (.*)$/.exec(line) ?? [];
    if (what === "TYPE") {
      if (families.has(name)) throw new Error(`${name}: its family is given twice`);
      families.set(name, rest);
      family = name;
    }
    if (what === "UNIT" && !name.endsWith(`_${rest}`)) throw new Error(`${name}: unit ${rest}`);
    if (what !== undefined && name !== family) throw new Error(`${line}: in another family`);
    if (what !== undefined) continue;
    const [, sample = "", labels = "", value = ""] = sampleLine.exec(line) ?? [];
    const ending = sample.slice(family.length);
    const isOfFamily = sample.startsWith(family) && family !== "";
    const type = families.get(family) ?? "";
    if (!isOfFamily || suffixes[type]?.includes(ending) !== true) throw new Error(`line ${line}`);
    checkLabels(labels.slice(1, -1));
    if (values.has(sample + labels)) throw new Error(`${line}: given twice`);
    values.set(sample + labels, Number(value.replace("Inf", "Infinity")));
  }
  checkHistograms(values);
  return { values, families };
}

function checkLabels(text: string): void {
  const names = new Set<string>();
  label.lastIndex = 0;
  while (label.lastIndex < text.length) {
    const found = label.exec(text);
    if (found === null) throw new Error(`labels ${text}`);
    names.add(found[1] ?? "");
  }
  const count = text.match(/(?:^|,)[a-zA-Z_]\w*="/g)?.length ?? 0;
  if (names.size > count) throw new Error(`labels ${text}: one is given twice`);
}

/** Buckets do not fall, and the last one is the count. */
function checkHistograms(values: ReadonlyMap<string, number>): void {
  let last = 0;
  for (const [sample, value] of values) {
    const [, name, labels = "", end] = /^(.*)_bucket\{(.*?),?le="(.*)"\}$/.exec(sample) ?? [];
    if (name === undefined) continue;
    if (value < last) throw new Error(`${sample}: less than the bucket before`);
    last = end === "+Inf" ? 0 : value;
    if (end !== "+Inf") continue;
    const count = values.get(`${name}_count${labels === "" ? "" : `{${labels}}`}`);
    if (count !== value) throw new Error(`${sample}: ${value} of ${count}`);
  }
}
