/**
 * A helper (files-aside.ts): answers questions about applications' files, one after the other, each
 * a line of JSON, until its input ends. It is a process of its own because a file system can hold a
 * thread for as long as it likes; then this one is killed and nobody else waits.
 */
import { readSync, writeSync } from "node:fs";

import { dieWithParent, ownSession } from "../native/process.ts";
import { lookAtApplication } from "./builtin/application-look.ts";
import type { Answers, Question } from "./files-aside.ts";
import { asciiJson } from "./launch-plan.ts";
import { deleteRestartFile } from "./restart-deletion.ts";

/** Ends with the process. */
export function answerQuestions(): never {
  ownSession();
  dieWithParent();
  const room = Buffer.alloc(64 * 1024);
  let rest = "";
  for (;;) {
    const count = readSync(0, room, 0, room.length, null);
    if (count === 0) process.exit(0);
    const lines = (rest + room.toString("latin1", 0, count)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) answer(JSON.parse(line) as Question);
  }
}

function answer(question: Question): void {
  switch (question.kind) {
    case "restart":
      return deleteRestartFile(question.root, (deletion) => say({ restart: deletion }));
    case "look":
      return say({ look: lookAtApplication(question.request) });
  }
}

function say(answers: Answers): void {
  const line = Buffer.from(`${asciiJson(answers)}\n`, "latin1");
  for (let sent = 0; sent < line.length;) sent += writeSync(1, line, sent);
}
