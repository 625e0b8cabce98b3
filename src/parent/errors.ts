/**
 * Everything that can go wrong for a parent, by what it may do about it: show a page (SpawnError),
 * try later (BusyError), try again (PoolIOError), start a new server (ServerGoneError), answer 502
 * (SessionError) or 504 (AnswerTimeoutError), correct its own call (ConfigureError, and the
 * RangeErrors and TypeErrors thrown at once). Messages read `<what was tried> <on what>: <cause>`.
 */

/** The base of all errors of this library; by itself: the connection was closed on this side. */
export class PoolError extends Error {
  override readonly name: string = "PoolError";
}

/** The application could not be started. */
export class SpawnError extends PoolError {
  override readonly name = "SpawnError";
  /** The application's HTML error page for a developer's eyes, as it came; not always there. */
  readonly page: Uint8Array | undefined;

  constructor(message: string, page?: Uint8Array) {
    super(message);
    this.page = page;
  }
}

/** This get met one of the pool's bounds for waiting, or this library's own queue is full. */
export class BusyError extends PoolError {
  override readonly name = "BusyError";
}

/** The server could not connect to an instance, or a descriptor was lost on its way. */
export class PoolIOError extends PoolError {
  override readonly name = "PoolIOError";
}

/** `configure` was not taken; the message says which option is wrong. */
export class ConfigureError extends PoolError {
  override readonly name = "ConfigureError";
}

/** The server ended, or closed this connection because of what it was sent (its log says why). */
export class ServerGoneError extends PoolError {
  override readonly name = "ServerGoneError";
}

/** The wake socket has ended with it: no other server can come in its place. */
export class GoneForGoodError extends ServerGoneError {}

/** A session with an instance failed: the request could not be sent, or the answer is broken. */
export class SessionError extends PoolError {
  override readonly name = "SessionError";
  /** Whether any byte of an answer had arrived. If not, it may be repeated where that is safe. */
  readonly answerBegan: boolean;

  constructor(message: string, answerBegan: boolean, options?: ErrorOptions) {
    super(message, options);
    this.answerBegan = answerBegan;
  }
}

/** The application has not begun its answer in the time it was given. */
export class AnswerTimeoutError extends PoolError {
  override readonly name = "AnswerTimeoutError";
}
