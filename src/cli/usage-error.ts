/** What makes a command end early, as it is shown to people, with its exit status. */

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command line is right but cannot be carried out: exit status 1. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** A configuration is wrong: exit status 2, and one line for each problem. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join("; "), options);
    this.problems = problems;
  }
}
