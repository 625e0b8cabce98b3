/**
 * What makes a command end early, with its exit status: the only two errors the command line shows
 * to people.
 */

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command line is right but cannot be carried out: exit status 1. */
export class StartError extends Error {
  override readonly name = "StartError";
}
