/* Ends a process as a power switch would: by SIGKILL, before the Nth call that changes a file below one directory; or
 * lets just that call fail with EIO, as a disk does that is about to give up.
 *
 *   LD_PRELOAD=kill_at.so KILL_BELOW=/directory KILL_AT=7 KILL_TRACE=/elsewhere/trace perennial token
 *   LD_PRELOAD=kill_at.so KILL_BELOW=/directory FAIL_AT=7 KILL_TRACE=/elsewhere/trace perennial token
 *
 * What is written through a mapping (SQLite's -shm) is no call; nothing durable is. Every such call is written to the trace before it is made; the last line of a killed process is the call that it did
 * not make. The count goes over all threads: strace's `inject` counts each thread by itself, and an intent and its
 * commit are seldom written by the same one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static int below(const char *path) {
    const char *root = getenv("KILL_BELOW");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

/* What a descriptor was opened as; empty where it is no file. */
static const char *name_of(int fd, char *name) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, name, PATH_MAX - 1);
    name[length > 0 ? length : 0] = 0;
    return name;
}

/* True when the call is to fail. */
static int about_to(const char *call, const char *path) {
    if (!below(path)) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    const char *trace = getenv("KILL_TRACE"), *kill_at = getenv("KILL_AT"), *fail_at = getenv("FAIL_AT");
    if (trace) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        long fd = syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd >= 0) {
            syscall(SYS_write, fd, line, (size_t)length);
            syscall(SYS_close, fd);
        }
    }
    if (kill_at && number == atol(kill_at)) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (fail_at && number == atol(fail_at)) {
        errno = EIO;
        return 1;
    }
    return 0;
}

static int about_to_fd(const char *call, int fd) {
    char name[PATH_MAX];
    return about_to(call, name_of(fd, name));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name, before, pass)                                          \
    int name(before const char *path, int flags, ...) {                    \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                      \
        if ((flags & (O_CREAT | O_TRUNC)) && about_to("open", path)) return -1; \
        return REAL(name)(pass path, flags, mode);                         \
    }
#define NOTHING
#define AT_DIR int dir,
#define DIR_PASSED dir,
OPENS(open, NOTHING, NOTHING)
OPENS(open64, NOTHING, NOTHING)
OPENS(openat, AT_DIR, DIR_PASSED)
OPENS(openat64, AT_DIR, DIR_PASSED)

ssize_t write(int fd, const void *bytes, size_t length) {
    if (about_to_fd("write", fd)) return -1;
    return REAL(write)(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (about_to_fd("write", fd)) return -1;
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    if (about_to_fd("write", fd)) return -1;
    return REAL(pwrite64)(fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    if (about_to_fd("write", fd)) return -1;
    return REAL(pwrite)(fd, bytes, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    if (about_to_fd("ftruncate", fd)) return -1;
    return REAL(ftruncate64)(fd, length);
}

int ftruncate(int fd, off_t length) {
    if (about_to_fd("ftruncate", fd)) return -1;
    return REAL(ftruncate)(fd, length);
}

/* Gives the error back instead of setting errno. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    if (about_to_fd("fallocate", fd)) return EIO;
    return REAL(posix_fallocate)(fd, offset, length);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *where, size_t length, unsigned flags) {
    if (about_to_fd("write", to)) return -1;
    return REAL(copy_file_range)(from, at, to, where, length, flags);
}

int fchmod(int fd, mode_t mode) {
    if (about_to_fd("chmod", fd)) return -1;
    return REAL(fchmod)(fd, mode);
}

int chmod(const char *path, mode_t mode) {
    if (about_to("chmod", path)) return -1;
    return REAL(chmod)(path, mode);
}

/* SQLite gives its files to the owner of the database where it may, which is where it runs as root. */
int fchown(int fd, uid_t owner, gid_t group) {
    if (about_to_fd("chown", fd)) return -1;
    return REAL(fchown)(fd, owner, group);
}

int link(const char *from, const char *to) {
    if (about_to("link", to)) return -1;
    return REAL(link)(from, to);
}

int fsync(int fd) {
    if (about_to_fd("fsync", fd)) return -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (about_to_fd("fdatasync", fd)) return -1;
    return REAL(fdatasync)(fd);
}

int flock(int fd, int operation) {
    if (about_to_fd("flock", fd)) return -1;
    return REAL(flock)(fd, operation);
}

int rename(const char *from, const char *to) {
    if (about_to("rename", from)) return -1;
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (about_to("unlink", path)) return -1;
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    if (about_to("mkdir", path)) return -1;
    return REAL(mkdir)(path, mode);
}
