/**
 * The commands that people use, as the program itself defines them: manual pages and completions
 * are made of this, and know nothing that `--help` does not.
 */
import type { ArgDef, ArgsDef, CommandDef } from "citty";

import { daemonCommand } from "../../src/cli/config.ts";
import { controlCommandNames } from "../../src/cli/arguments.ts";
import { controlCommand } from "../../src/cli/control-commands.ts";
import { logsCommand } from "../../src/cli/logs.ts";
import { historicName, shortName } from "../../src/cli/program-name.ts";
import { serveCommand } from "../../src/cli/serve-options.ts";
import { statusCommand } from "../../src/cli/status.ts";

export interface Option {
  readonly name: string;
  readonly description: string;
  /** What its value is called; undefined: it takes none. */
  readonly hint: string | undefined;
  /** The values there are, where its description lists them. */
  readonly choices: readonly string[];
}

export interface Word {
  readonly name: string;
  readonly description: string;
  readonly isRequired: boolean;
}

export interface Command {
  /** `serve`; empty for what a parent starts. */
  readonly name: string;
  readonly description: string;
  readonly words: readonly Word[];
  readonly options: readonly Option[];
}

/** All of them; what a parent starts is the last. */
export function commands(): Command[] {
  const control = controlCommandNames.map(controlCommand);
  return [serveCommand, statusCommand, logsCommand, ...control, daemonCommand].map(read);
}

function read({ meta, args }: CommandDef): Command {
  const { name = "", description = "" } = meta as { name?: string; description?: string };
  const all = Object.entries(args as ArgsDef);
  return {
    name: name.slice(historicName.length).trim(),
    description: description.replaceAll(historicName, shortName),
    words: all.flatMap(([word, { type, description: what = "", ...rest }]) => {
      const isRequired = (rest as { required?: boolean }).required !== false;
      return type === "positional" ? [{ name: word, description: what, isRequired }] : [];
    }),
    options: all.flatMap(([option, definition]) => readOption(option, definition)),
  };
}

/** `text or json (default text)`, `auto, rack or command (default auto)`. */
const listed = /^((?:\w+, )*\w+ or \w+) \(default/;

function readOption(name: string, { type, description = "", ...rest }: ArgDef): Option[] {
  if (type === "positional") return [];
  const hint = type === "boolean" ? undefined : (rest as { valueHint?: string }).valueHint;
  const choices = listed.exec(description)?.[1]?.split(/, | or /) ?? [];
  return [{ name, description, hint, choices }];
}
