/**
 * The environment variable whose presence makes a start of our binary the launch command
 * (launch.ts).
 */
export const launchVariable = "APPLICATION_POOL_LAUNCH";
