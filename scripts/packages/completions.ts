/** Completions for bash, zsh and fish: commands, their options, and values where they are known. */
import { historicName, shortName } from "../../src/cli/program-name.ts";
import type { Command, Option } from "./commands.ts";

/** What is completed as a file's name. */
const files = ["FILE", "PATH"];
const directories = ["DIRECTORY"];

/** Inside of single quotes, of all three shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "’")}'`;
}

function named(commands: readonly Command[]): Command[] {
  return commands.filter(({ name }) => name !== "");
}

function flags(options: readonly Option[]): string {
  return options.map(({ name }) => `--${name}`).join(" ");
}

/** What compgen is asked for where a value is known, or is a file. */
function bashReply({ hint = "", choices }: Option): string | undefined {
  if (choices.length > 0) return `-W ${quote(choices.join(" "))}`;
  return files.includes(hint) ? "-f" : undefined;
}

function fill(reply: string): string {
  return `mapfile -t COMPREPLY < <(compgen ${reply} -- "$word")`;
}

export function bashCompletion(commands: readonly Command[]): string {
  const cases = named(commands).map(({ name, words, options }) => {
    const values = options.flatMap((option) => {
      const reply = bashReply(option);
      return reply === undefined ? [] : [`        --${option.name}) ${fill(reply)}; return ;;`];
    });
    const others = options.filter((option) => option.hint !== undefined && !bashReply(option));
    if (others.length > 0) {
      values.push(`        ${others.map(({ name: other }) => `--${other}`).join("|")}) return ;;`);
    }
    const isPlace = words.some((word) => directories.includes(word.name));
    return [
      `    ${name})`,
      '      case "$before" in',
      ...values,
      "      esac",
      `      if [[ "$word" == -* ]]; then rest=${quote(`${flags(options)} --help`)}`,
      `      else ${isPlace ? `${fill("-d")}; ` : ""}return; fi`,
      "      ;;",
    ].join("\n");
  });
  const names = named(commands).map(({ name }) => name);
  return `# bash completion for ${shortName}, made of its own tables of options
_${shortName}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}" rest=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    ${fill(`-W ${quote(`${names.join(" ")} --help --version`)}`)}
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
    *) return ;;
  esac
  ${fill('-W "$rest"')}
}
complete -o filenames -F _${shortName} ${shortName} ${historicName}
`;
}

/** In zsh's _arguments a colon ends a part, and brackets hold the description. */
function zshText(text: string): string {
  return text.replaceAll(/[:[\]]/g, (sign) => `\\${sign}`);
}

function zshOption({ name, description, hint, choices }: Option): string {
  const repeats = description.includes("repeatable") ? "*" : "";
  const what = `${repeats}--${name}[${zshText(description)}]`;
  if (hint === undefined) return quote(what);
  const value =
    choices.length > 0
      ? `(${choices.join(" ")})`
      : files.includes(hint)
        ? "_files"
        : directories.includes(hint)
          ? "_files -/"
          : "";
  return quote(`${what}:${hint}:${value}`);
}

export function zshCompletion(commands: readonly Command[]): string {
  const described = named(commands).map(({ name, description }) =>
    quote(`${name}:${zshText(description)}`),
  );
  const cases = named(commands).map(({ name, words, options }) => {
    const places = words.map((word, index) => {
      const action = directories.includes(word.name) ? "_files -/" : " ";
      return quote(`${index + 1}:${word.name}:${action}`);
    });
    const all = [...options.map(zshOption), quote("--help[what there is]"), ...places];
    return `    ${name}) _arguments \\\n      ${all.join(" \\\n      ")} ;;`;
  });
  return `#compdef ${shortName} ${historicName}
# made of the program's own tables of options
_${shortName}() {
  local -a known
  known=(
    ${described.join("\n    ")}
  )
  if ((CURRENT == 2)); then
    _describe -t commands command known
    return
  fi
  shift words
  ((CURRENT--))
  case "\${words[1]}" in
${cases.join("\n")}
  esac
}
_${shortName} "$@"
`;
}

export function fishCompletion(commands: readonly Command[]): string {
  const names = named(commands)
    .map(({ name }) => name)
    .join(" ");
  const lines = named(commands).flatMap(({ name, description, words, options }) => [
    `-n ${quote(`not __fish_seen_subcommand_from ${names}`)} -a ${name} -d ${quote(description)}`,
    ...(words.some((word) => directories.includes(word.name))
      ? [`-n ${quote(`__fish_seen_subcommand_from ${name}`)} -a '(__fish_complete_directories)'`]
      : []),
    ...options.map(({ name: option, description: what, hint, choices }) => {
      const value =
        hint === undefined
          ? ""
          : choices.length > 0
            ? ` -x -a ${quote(choices.join(" "))}`
            : files.includes(hint)
              ? " -r -F"
              : " -x";
      const where = quote(`__fish_seen_subcommand_from ${name}`);
      return `-n ${where} -l ${option}${value} -d ${quote(what)}`;
    }),
  ]);
  const all = [shortName, historicName].flatMap((program) => [
    `complete -c ${program} -f`,
    ...lines.map((line) => `complete -c ${program} ${line}`),
  ]);
  return `# made of the program's own tables of options\n${all.join("\n")}\n`;
}
