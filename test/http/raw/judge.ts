/** What is wrong with how a case was answered, and with what reached the application. */
import { answersIn, type RawAnswer } from "./answers.ts";
import { piecesOf, type RawCase, type Reached, type Seen } from "./case.ts";

export interface Outcome {
  /** One character per byte. */
  readonly answered: string;
  readonly closed: boolean;
  readonly reached: readonly Reached[];
}

/** @param address of the client, where the case says 127.0.0.1. @returns reasons; none: right. */
export function faultsOf(rawCase: RawCase, outcome: Outcome, address: string): string[] {
  const { expect } = rawCase;
  const answers = answersIn(outcome.answered, methodsOf(rawCase));
  // A request whose body could not be read was not carried out; applications note `ERR` then.
  const reached = outcome.reached.filter(({ b }) => !/^(ERR|RVJS)/.test(b));
  const wrong = [...faultsOfAnswers(rawCase, answers, outcome.closed)];
  if (expect.reached !== undefined && !expect.reached.includes(reached.length)) {
    wrong.push(`reached ${reached.length} not in ${expect.reached.join(", ")}`);
  }
  if (reached.length === 0) return wrong;
  for (const seen of expect.app ?? []) wrong.push(...faultsOfSeen(seen, reached, address));
  for (const name of expect.absent ?? []) {
    const came = reached.some(({ h }) => name in h || namesOf(h).has(name.toLowerCase()));
    if (came) wrong.push(`${name} reached the application`);
  }
  return wrong;
}

function methodsOf(rawCase: RawCase): string[] {
  const sent = Buffer.concat(piecesOf(rawCase).map(({ data }) => data)).toString("latin1");
  const lines = sent.matchAll(/(?:^|\r\n\r\n|\n)([A-Z]+) [^\r\n]* HTTP\/1\.[01]\r\n/g);
  return Array.from(lines, ([, method = ""]) => method);
}

function* faultsOfAnswers(
  { expect }: RawCase,
  answers: readonly RawAnswer[],
  closed: boolean,
): Generator<string> {
  const finals = answers.filter(({ status }) => status >= 200 || status < 0);
  const statuses = finals.map(({ status }) => status).join(" ");
  if (!expect.status.some((right) => right.join(" ") === statuses)) {
    const right = expect.status.map((each) => `[${each.join(" ")}]`).join(" or ");
    yield `status [${statuses}], not ${right}`;
  }
  if (answers.some(({ status }) => status < 0)) yield "there is garbage in the answer";
  if (answers.some(({ isWhole }) => !isWhole)) yield "an answer is cut";
  if (expect.closed !== undefined && expect.closed !== closed) {
    yield closed ? "closed" : "not closed";
  }
  const hasInterim = answers.some(({ status }) => status >= 100 && status < 200);
  if (expect.interim !== undefined && expect.interim !== hasInterim) yield "interim";
  const [first] = finals;
  if (first === undefined) return;
  for (const name of expect.ans_absent ?? []) if (first.headers.has(name)) yield `has ${name}`;
  for (const name of expect.ans_present ?? []) if (!first.headers.has(name)) yield `lacks ${name}`;
}

/** The headers that the application saw, in HTTP's spelling, whether it speaks CGI or not. */
function namesOf(headers: Reached["h"]): Map<string, string> {
  return new Map(
    Object.entries(headers).map(([name, value]) => [
      name
        .replace(/^HTTP_/, "")
        .replaceAll("_", "-")
        .toLowerCase(),
      value,
    ]),
  );
}

function* faultsOfSeen(seen: Seen, reached: readonly Reached[], address: string) {
  const [first] = reached;
  if (first === undefined) return;
  const headers = namesOf(first.h);
  const body = Buffer.from(first.b, "base64").toString("latin1");
  if (seen.b !== undefined && body !== seen.b) yield `body '${body}', not '${seen.b}'`;
  if (seen.m !== undefined && first.m !== seen.m) yield `method ${first.m}, not ${seen.m}`;
  const target = first.u.replace(/^https?:\/\/[^/]+/, "");
  if (seen.u !== undefined && target !== seen.u) yield `target '${target}', not '${seen.u}'`;
  const smuggled = seen.not_u;
  if (smuggled !== undefined && reached.some(({ u }) => u.includes(smuggled))) yield "smuggled";
  const from = (text: string): string => text.replace("127.0.0.1", address);
  const forwarded = headers.get("x-forwarded-for");
  if (seen.xff !== undefined && forwarded !== from(seen.xff)) yield `forwarded for ${forwarded}`;
  const scheme = first.scheme ?? headers.get("x-forwarded-proto") ?? "http";
  if (seen.scheme !== undefined && scheme !== seen.scheme) yield `scheme ${scheme}`;
  if (seen.ip !== undefined && (first.ip ?? address) !== from(seen.ip)) yield `ip ${first.ip}`;
  for (const [name, text] of Object.entries(seen.h ?? {})) {
    const value = headers.get(name);
    if (name === "x-forwarded-host" && value === undefined) continue;
    // Some show bytes as UTF-8, some one by one.
    const isSame = value === text || Buffer.from(value ?? "").toString("latin1") === text;
    if (!isSame) yield `${name}: ${value}, not ${text}`;
  }
}
