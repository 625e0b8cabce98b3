/** Types of lifeline.cjs, for the loader that is TypeScript. */

/** That so many sessions are served at once, and that the end of each is told. */
export function tellReady(concurrency: number): void;

/** Why no session will be served. */
export function tellFailure(text: string): void;

/** Another session is over for this instance. Does not wait for the server to read it. */
export function tellDone(): void;

/**
 * How short messages are written from now on: whole or not at all. What it returns says whether one
 * was taken, or nobody wants it any more.
 */
export function writeBy(write: (message: Uint8Array) => boolean): void;
