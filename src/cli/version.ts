/** The version that this binary was built as. */

declare const POOL_SERVER_VERSION: string;

export function version(): string {
  return typeof POOL_SERVER_VERSION === "string" ? POOL_SERVER_VERSION : "development";
}
