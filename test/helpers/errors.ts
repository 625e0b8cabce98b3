/** Errors as values: what a call threw. */
import { SyscallError } from "../../src/native/errno.ts";

/** The error a call throws. @throws Error when it throws none. */
export function errorOf(call: () => unknown): Error {
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error(`expected an error, got ${Bun.inspect(result)}`);
}

/** The errno name of the SyscallError a call throws, for example `ENOENT`. */
export function errorCode(call: () => unknown): string {
  const error = errorOf(call);
  if (error instanceof SyscallError) return error.code;
  throw error;
}
