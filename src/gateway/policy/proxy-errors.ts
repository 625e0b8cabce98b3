/**
 * What can go wrong between the gateway and an application beyond the errors of the library for
 * parents. All of them are what a visitor is answered with, never thrown inside an answer's body.
 */

/** The visitor left before the request was whole: nobody reads an answer. */
export class VisitorGoneError extends Error {
  override readonly name = "VisitorGoneError";
}

/** A body in chunks has become larger than it may: 413. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
}

/** Its operator has the application refuse requests for now. */
export class PausedError extends Error {
  override readonly name = "PausedError";
}
