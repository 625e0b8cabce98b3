/**
 * The environment variable whose presence makes a start of our binary the launch command
 * (launch.ts).
 */
export const launchVariable = "APPLICATION_POOL_LAUNCH";

/** Its value where what is launched is a helper for files (files-aside.ts), and no plan. */
export const filesAside = "files";
