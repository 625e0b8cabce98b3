/**
 * How options of an application are read: each by a function that is given its name and the value,
 * and returns the value or throws. Tables of such readers are what says which options there are.
 */

/** A `configure` that cannot be taken; the message is the answer. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
}

/** The options that a table reads; absent: the default. */
export type OptionsOf<Table> = {
  readonly [Name in keyof Table]?:
    (Table[Name] extends (name: string, value: unknown) => infer Value ? Value : never) | undefined;
};

/** Takes a value that is of a kind. @param whyNot what else is wrong with one of that kind. */
export function taking<T>(
  isOne: (value: unknown) => boolean,
  notOne: string,
  whyNot: (value: T) => string | undefined = () => undefined,
) {
  return (name: string, value: unknown): T => {
    const why = isOne(value) ? whyNot(value as T) : `is ${show(value)}, ${notOne}`;
    if (why === undefined) return value as T;
    throw new OptionsError(`configure: ${name} ${why}`);
  };
}

export function whole(min: number, max: number) {
  return taking<number>(
    (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
    `not a whole number from ${min} to ${max}`,
  );
}

export function word<Word extends string>(words: readonly Word[]) {
  return taking<Word>((value) => words.includes(value as Word), `none of ${words.join(", ")}`);
}

/** A text that `whyNot` has nothing against. */
export function someText(notOne: string, whyNot: (value: string) => string | undefined) {
  return taking((value) => typeof value === "string" && value !== "", notOne, whyNot);
}

/** The value, if it is an object. @throws OptionsError, which calls it `what`. */
export function object(what: string, value: unknown): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new OptionsError(`configure: ${what} must be an object, not ${show(value)}`);
}

/** A value as short JSON: its sender should recognise it. */
export function show(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}
