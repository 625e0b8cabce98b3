/** Tools of the system that packages are made with. */

/** Runs one to its end. @throws Error with what it said, if it fails or is not there. */
export function runTool(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  directory?: string,
): void {
  const [program = ""] = command;
  if (Bun.which(program) === null) throw new Error(`run ${program}: it is not installed`);
  const { success, signalCode, stdout, stderr } = Bun.spawnSync([...command], {
    env: { ...process.env, ...environment },
    ...(directory === undefined ? {} : { cwd: directory }),
  });
  if (success) return;
  const said = `${signalCode ?? ""} ${stderr.toString()}${stdout.toString()}`;
  throw new Error(`run ${command.join(" ")}: ${said.trim()}`);
}
