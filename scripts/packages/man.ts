/**
 * Manual pages (man(7)): those of commands are made of their tables of options, with the sections
 * of the document that belong to them; that of the configuration file is made of that document. So
 * there is no second text.
 */
import { historicName, shortName } from "../../src/cli/program-name.ts";
import type { Command } from "./commands.ts";

/** Begins a request line: nothing in a text can be taken for one. */
const request = "\u0001";

/** A text, for roff: what it would take for an escape is none. */
function escape(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-");
}

function bold(text: string): string {
  return `\\fB${text}\\fR`;
}

function macro(name: string, argument = ""): string {
  const quoted = argument === "" ? "" : ` "${argument.replaceAll('"', "\\(dq")}"`;
  return `\n${request}${name}${quoted}\n`;
}

/** A table as a list: its first column has the words, the others say what they are. */
function row(cells: readonly string[]): string {
  const [first = "", ...rest] = cells.map((cell) => cell.trim());
  // Without a first word it goes on with the row before.
  const tag = first === "" ? "" : `${macro("TP")}${first}\n`;
  return `${tag}${rest.filter((cell) => cell !== "").join("; ")}\n`;
}

const cellEnd = "\u0002";
/** One that is meant; others only part the texts that pages are put together of. */
const emptyLine = "\u0003";
/** A paragraph with a picture is for who sees it. */
const picture = "\u0004";

/** Sections of a document in Markdown, as those of a page. */
function fromMarkdown(text: string): string {
  return Bun.markdown.render(text, {
    heading: (content, { level }) => macro(level <= 2 ? "SH" : "SS", content),
    paragraph: (content) => (content.includes(picture) ? "" : `${macro("PP")}${content}\n`),
    image: () => picture,
    text: escape,
    codespan: bold,
    strong: bold,
    emphasis: (content) => `\\fI${content}\\fR`,
    link: (content) => content,
    code: (content) => {
      const lines = content.replace(/\n*$/, "").replaceAll(/^$/gm, emptyLine);
      return `${macro("PP")}${macro("RS", "2")}${macro("nf")}${lines}${macro("fi")}${macro("RE")}`;
    },
    list: (content) => content,
    listItem: (content) => `${macro("IP", "\\(bu")}${content.trim()}\n`,
    table: (content) => content,
    thead: () => "",
    tbody: (content) => content,
    tr: (content) => row(content.split(cellEnd).slice(0, -1)),
    td: (content) => `${content}${cellEnd}`,
  });
}

/** One section of a document, by its heading, with what is below it. */
function section(document: string, heading: string): string {
  const start = document.indexOf(`\n## ${heading}\n`);
  if (start < 0) throw new Error(`make the manual: there is no section '${heading}'`);
  const end = document.indexOf("\n## ", start + 1);
  return document.slice(start + 1, end < 0 ? undefined : end + 1);
}

interface Page {
  readonly name: string;
  readonly section: 1 | 5;
  readonly about: string;
  readonly body: string;
}

function page({ name, section: number, about, body }: Page, date: string): string {
  const head = `${request}TH ${name.toUpperCase()} ${number} ${date} "${shortName}"\n`;
  const title = `${macro("SH", "NAME")}${escape(name)} \\- ${escape(about)}\n`;
  return `${head}${title}${body}`
    .split("\n")
    .filter((line) => line.trim() !== "")
    .filter((line, at, lines) => {
      // A section begins with a paragraph anyway.
      return line !== `${request}PP` || lines[at - 1]?.startsWith(`${request}S`) !== true;
    })
    .map((line) => {
      if (line === emptyLine) return "";
      if (line.startsWith(request)) return `.${line.slice(1)}`;
      return line.replace(/^(?=[.'])/, "\\&");
    })
    .join("\n")
    .concat("\n");
}

function synopsis({ name, words, options }: Command): string {
  const places = words.map((word) => {
    const text = `\\fI${escape(word.name)}\\fR`;
    return word.isRequired ? text : `[${text}]`;
  });
  const rest = options.length > 0 ? [`[\\fIOPTIONS\\fR]`] : [];
  return [bold(escape(`${shortName} ${name}`.trim())), ...places, ...rest].join(" ");
}

function optionList({ words, options }: Command): string {
  const places = words.filter(({ description }) => description !== "");
  return [
    ...places.map((word) => row([`\\fI${escape(word.name)}\\fR`, escape(word.description)])),
    ...options.map(({ name, hint, description }) => {
      const value = hint === undefined ? "" : ` \\fI${escape(hint)}\\fR`;
      return row([`${bold(escape(`--${name}`))}${value}`, escape(description)]);
    }),
  ].join("");
}

const configuration = "pool.toml";

function seeAlso(names: readonly string[]): string {
  const list = names.map((name) => `${bold(escape(name))}(${name === configuration ? 5 : 1})`);
  return `${macro("SH", "SEE ALSO")}${list.join(",\n")}\n`;
}

/** What of docs/serve.md stands with which command; what is about the configuration is below. */
const ofCommands: Readonly<Record<string, readonly string[]>> = {
  serve: ["Signals", "Logs", "On a Debian system", "When something dies", "Processes and memory"],
  "": ["Commands", "Figures"],
};
const ofFile = [
  "The configuration file",
  "Addresses",
  "Who asks",
  "Static files",
  "Errors",
  "Processes that keep state",
  "Deploying",
];

/** @param command empty for the program. */
function sectionsOf(document: string, command: string): string {
  const headings = ofCommands[command] ?? [];
  return headings.map((heading) => fromMarkdown(section(document, heading))).join("");
}

/**
 * All pages, by the name of their file.
 * @param document docs/serve.md.
 * @param epochSeconds the date they bear.
 */
export function manualPages(
  commands: readonly Command[],
  document: string,
  epochSeconds: number,
): Map<string, string> {
  const date = new Date(epochSeconds * 1000).toISOString().slice(0, 10);
  const pages = new Map<string, string>();
  const named = commands.filter(({ name }) => name !== "");
  for (const command of named) {
    const name = `${shortName}-${command.name}`;
    const [about = ""] = command.description.split(/[.:;]/);
    const body = [
      `${macro("SH", "SYNOPSIS")}${synopsis(command)}\n`,
      `${macro("SH", "DESCRIPTION")}${escape(command.description)}\n`,
      `${macro("SH", "OPTIONS")}${optionList(command)}`,
      sectionsOf(document, command.name),
      seeAlso([shortName, configuration]),
    ].join("");
    pages.set(`${name}.1`, page({ name, section: 1, about, body }, date));
  }
  pages.set(`${shortName}.1`, overview(commands, document, date));
  pages.set(`${historicName}.1`, `.so man1/${shortName}.1\n`);
  const about = "what the application pool serves, and how";
  const body = ofFile.map((one) => fromMarkdown(section(document, one))).join("");
  const file = { name: configuration, section: 5, about, body: `${body}${seeAlso([shortName])}` };
  pages.set(`${configuration}.5`, page({ ...file, section: 5 }, date));
  return pages;
}

/** The page of the program: its commands, and what a parent of the old kind says. */
function overview(commands: readonly Command[], document: string, date: string): string {
  const named = commands.filter(({ name }) => name !== "");
  const list = named.map(({ name, description }) =>
    row([bold(escape(`${shortName} ${name}`)), escape(description)]),
  );
  const forParents = commands
    .filter(({ name }) => name === "")
    .map((command) =>
      [
        `${macro("SH", "STARTED BY A PARENT")}${synopsis(command)}\n`,
        `${macro("PP")}${escape(command.description)}\n${optionList(command)}`,
      ].join(""),
    );
  const body = [
    `${macro("SH", "SYNOPSIS")}${bold(shortName)} \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n`,
    `${macro("SH", "DESCRIPTION")}Web applications of any language behind HTTP: it starts them,\n`,
    `keeps them running, and shares their processes among requests.\n`,
    `${macro("SH", "COMMANDS")}${list.join("")}`,
    `${macro("PP")}Each command shows its options with ${bold(escape("--help"))}.\n`,
    sectionsOf(document, ""),
    ...forParents,
    seeAlso([...named.map(({ name }) => `${shortName}-${name}`), configuration]),
  ].join("");
  return page({ name: shortName, section: 1, about: "application pool server", body }, date);
}
