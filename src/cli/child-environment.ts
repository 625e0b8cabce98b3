/**
 * The environment that workers, pool server and applications get: ours, without what was meant for
 * this process alone. Settings of the pool server come from the gateway's configuration only.
 */
const withheld = [
  // systemd's, for the process it has started (sd_notify(3), sd_listen_fds(3)).
  "NOTIFY_SOCKET",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  "LISTEN_PID",
  "LISTEN_FDS",
  "LISTEN_FDNAMES",
  // They would make our binary run something else.
  "BUN_BE_BUN",
  "BUN_OPTIONS",
];

export function childEnvironment(): Record<string, string | undefined> {
  const passed = Object.entries(process.env).filter(
    ([name]) => !withheld.includes(name) && !name.startsWith("APPLICATION_POOL_"),
  );
  return Object.fromEntries(passed);
}
