/**
 * Preloaded (`--import`) into the suite where it judges a server behind the bridge, which starts a process for each request of the modern era: the half
 * seconds that some scenarios wait for a first message would measure the machine. Only how long it waits changes, not what it looks at.
 */
const factor = 8;
const wait = globalThis.setTimeout;
globalThis.setTimeout = ((run: (...words: unknown[]) => void, ms = 0, ...rest: unknown[]) =>
  wait(run, ms >= 400 && ms <= 3000 ? ms * factor : ms, ...rest)) as typeof setTimeout;
