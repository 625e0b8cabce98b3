/**
 * A process for tests of what can only be done to oneself: it takes the steps its arguments name,
 * one after the other, with the native layer. The steps are `name` or `name:argument`; the last one
 * usually becomes another program, which shows what the kernel made of it. An error is one line on
 * stderr and exit status 1.
 */
import { setDescriptorLimit } from "../../src/native/process.ts";
import {
  becomeUser,
  changeDirectory,
  execute,
  findUser,
  forbidNewPrivileges,
  ignoreSignal,
  ownSession,
  resetSignals,
  sendSignal,
} from "../../src/native/process.ts";

function take(step: string): void {
  const colon = step.indexOf(":");
  const name = colon < 0 ? step : step.slice(0, colon);
  const argument = colon < 0 ? "" : step.slice(colon + 1);
  switch (name) {
    case "user": {
      const user = findUser(argument);
      if (user === undefined) throw new Error(`no user ${argument}`);
      return becomeUser(user);
    }
    case "directory":
      return changeDirectory(Buffer.from(argument, "hex").toString("latin1"));
    case "session":
      return ownSession();
    case "no-new-privileges":
      return forbidNewPrivileges();
    case "ignore":
      return ignoreSignal(Number(argument));
    case "reset-signals":
      return resetSignals();
    case "limit":
      return setDescriptorLimit({ soft: BigInt(argument), hard: BigInt(argument) });
    case "signal":
      sendSignal(Number(argument), 0);
      return;
    case "execute": {
      const [file = "", ...argv] = argument.split(" ");
      return execute(file, argv, []);
    }
    default:
      throw new Error(`no such step: ${step}`);
  }
}

try {
  for (const step of process.argv.slice(2)) take(step);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
