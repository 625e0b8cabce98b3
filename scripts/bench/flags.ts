/** Values of the measurements' flags: what is wrong with one is said by its name. */

/** A whole number of at least 1. @throws Error. */
export function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${flag} ${text}: not a whole number of at least 1`);
}

/** One of the known words. @throws Error. */
export function wordOf<Word extends string>(
  flag: string,
  text: string,
  known: readonly Word[],
): Word {
  const word = known.find((candidate) => candidate === text);
  if (word !== undefined) return word;
  throw new Error(`--${flag} ${text}: not one of ${known.join(", ")}`);
}
