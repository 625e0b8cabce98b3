/**
 * Small C programs, to ask the headers and the kernel of this machine what no test should assume.
 */
import { join } from "node:path";

/** Compiles and runs a program in `directory`. @returns its standard output. */
export async function runC(directory: string, source: string): Promise<string> {
  const file = join(directory, "program.c");
  const program = join(directory, "program");
  await Bun.write(file, source);
  const compiled = Bun.spawnSync(["cc", "-Wall", "-Werror", "-o", program, file]);
  if (!compiled.success) throw new Error(`cc: ${compiled.stderr.toString()}`);
  const run = Bun.spawnSync([program]);
  if (!run.success) throw new Error(`the program ended with ${run.exitCode}`);
  return run.stdout.toString();
}
