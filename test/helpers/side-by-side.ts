/**
 * Loaded before tests that run side by side. The test runner tells its workers which they are by
 * their environment, which every process that a test starts would inherit.
 */
for (const name of ["BUN_TEST_WORKER_ID", "JEST_WORKER_ID"]) delete process.env[name];
