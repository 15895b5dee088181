/**
 * What Node cannot do itself: kernel peer credentials and `flock`. Through koffi, an optional dependency that only the recorder loads. Without it
 * there are slower or weaker ways (`peer.ts`, `lock.ts`), and `sworn recorder status` says which part is missing.
 */
import { createRequire } from 'node:module';

export interface Native {
  /** The process that called connect() on the other end, as the kernel noted it then; `undefined` when the kernel does not say. */
  peerOf(fd: number): { uid: number; gid: number; pid: number } | undefined;
  /** Takes an exclusive lock that ends with the process; false when another process holds it. */
  lock(fd: number): boolean;
}

/** Linux: socket(7), unix(7). */
const linux = { libc: 'libc.so.6', level: 1, peerCredentials: 17 };
/** macOS: unix(4), sys/un.h. */
const darwin = { libc: 'libSystem.B.dylib', level: 0, peerCredentials: 1, peerPid: 2 };
const exclusiveNonBlocking = 2 | 4;

/** The native part, or why there is none. */
export function loadNative(): Native | { missing: string } {
  if (process.platform !== 'linux' && process.platform !== 'darwin') return { missing: `no native part for ${process.platform}` };
  try {
    const koffi = createRequire(import.meta.url)('koffi') as {
      load(path: string): { func(prototype: string): (...args: unknown[]) => number };
    };
    const platform = process.platform === 'linux' ? linux : darwin;
    const libc = koffi.load(platform.libc);
    const getsockopt = libc.func('int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)');
    const flock = libc.func('int flock(int fd, int operation)');
    const option = (fd: number, name: number, sizeBytes: number): Buffer | undefined => {
      const value = Buffer.alloc(sizeBytes);
      return getsockopt(fd, platform.level, name, value, [sizeBytes]) === 0 ? value : undefined;
    };
    return {
      peerOf(fd) {
        if (process.platform === 'linux') {
          const value = option(fd, linux.peerCredentials, 12);
          return value && { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
        }
        const value = option(fd, darwin.peerCredentials, 76); // struct xucred: version, uid, group count, 16 groups
        const pid = option(fd, darwin.peerPid, 4);
        return value && pid && { pid: pid.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(12) };
      },
      lock: (fd) => flock(fd, exclusiveNonBlocking) === 0,
    };
  } catch (error) {
    return { missing: `koffi cannot be loaded: ${(error as Error).message.split('\n')[0]}` };
  }
}
