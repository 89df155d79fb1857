/* LD_PRELOAD library: the n-th call of one kind, on files below one directory or on internet sockets, fails; all others go on.

   fail_arm() says which, in the process itself (with ctypes): nothing fails before. Calls are counted over all threads.
   Only what goes through the C library is seen: that is all that Python and SQLite do. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mode.h"

static char kind_armed[16], root[PATH_MAX];
static size_t root_length;
static int error_armed, report = -1;
static atomic_long left = 0, seen = 0;

/* The value is the counter of calls of this kind so far: an atomic_long. */
void *fail_arm(const char *kind, long number, int error, const char *directory, int report_file) {
    strncpy(kind_armed, kind, sizeof kind_armed - 1);
    strncpy(root, directory, sizeof root - 1);
    root_length = strlen(root);
    error_armed = error;
    report = report_file;
    atomic_store(&seen, 0);
    atomic_store(&left, number);
    return &seen;
}

static int strike(const char *call, const char *what) {
    atomic_fetch_add(&seen, 1);
    if (atomic_fetch_sub(&left, 1) != 1) return 0;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", call, what);
    syscall(SYS_write, report, line, (size_t)length);
    errno = error_armed;
    return 1;
}

static int armed(const char *kind) { return atomic_load(&left) > 0 && strcmp(kind, kind_armed) == 0; }

static int inside(const char *path) { return strncmp(path, root, root_length) == 0; }

static const char *path_of(int file, char *into) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlink, link, into, PATH_MAX - 1);
    into[length < 0 ? 0 : length] = 0;
    return into;
}

static int fails_at(const char *kind, const char *call, int directory, const char *path) {
    char above[PATH_MAX];
    if (!armed(kind)) return 0;
    int before = errno;
    if (path && path[0] == '/') {
        if (inside(path) && strike(call, path)) return 1;
    } else if (directory != AT_FDCWD && inside(path_of(directory, above)) && strike(call, path && *path ? path : above))
        return 1;
    errno = before;
    return 0;
}

static int fails_on(const char *kind, const char *call, int file) {
    char path[PATH_MAX];
    if (!armed(kind)) return 0;
    int before = errno;
    if (inside(path_of(file, path)) && strike(call, path)) return 1;
    errno = before;
    return 0;
}

/* A directory to be watched is named by its handle. */
static int fails_watch(const char *path) {
    int file;
    if (sscanf(path, "/proc/self/fd/%d", &file) == 1) return fails_on("watch", "inotify_add_watch", file);
    return fails_at("watch", "inotify_add_watch", AT_FDCWD, path);
}

static int fails_wire(const char *kind, const char *call, int file) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (!armed(kind)) return 0;
    int before = errno;
    if (getsockname(file, (struct sockaddr *)&name, &size) == 0 && name.ss_family == AF_INET && strike(call, "socket"))
        return 1;
    errno = before;
    return 0;
}

#define TYPES(...) __VA_ARGS__
#define WRAP(result, name, types, values, test, bad)                                   \
    result name(types) {                                                               \
        static result (*real)(types);                                                  \
        if (!real) real = (result(*)(types))syscall_free(#name);                       \
        if (test) return bad;                                                          \
        return real values;                                                            \
    }
static void *syscall_free(const char *name) { return dlsym(RTLD_NEXT, name); }

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        static int (*real)(const char *, int, ...);                       \
        MODE                                                              \
        if (!real) real = (int (*)(const char *, int, ...))syscall_free(#name); \
        if (fails_at("open", #name, AT_FDCWD, path)) return -1;           \
        return real(path, flags, mode);                                   \
    }
#define OPENAT(name)                                                      \
    int name(int directory, const char *path, int flags, ...) {           \
        static int (*real)(int, const char *, int, ...);                  \
        MODE                                                              \
        if (!real) real = (int (*)(int, const char *, int, ...))syscall_free(#name); \
        if (fails_at("open", #name, directory, path)) return -1;          \
        return real(directory, path, flags, mode);                        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

WRAP(ssize_t, read, TYPES(int f, void *b, size_t n), (f, b, n), fails_on("read", "read", f), -1)
WRAP(ssize_t, pread, TYPES(int f, void *b, size_t n, off_t o), (f, b, n, o), fails_on("pread", "pread", f), -1)
WRAP(ssize_t, pread64, TYPES(int f, void *b, size_t n, off_t o), (f, b, n, o), fails_on("pread", "pread", f), -1)
WRAP(ssize_t, write, TYPES(int f, const void *b, size_t n), (f, b, n), f > 2 && fails_on("write", "write", f), -1)
WRAP(ssize_t, writev, TYPES(int f, const struct iovec *v, int n), (f, v, n), f > 2 && fails_on("write", "writev", f), -1)
WRAP(ssize_t, pwrite, TYPES(int f, const void *b, size_t n, off_t o), (f, b, n, o), fails_on("pwrite", "pwrite", f), -1)
WRAP(ssize_t, pwrite64, TYPES(int f, const void *b, size_t n, off_t o), (f, b, n, o), fails_on("pwrite", "pwrite", f), -1)
WRAP(ssize_t, preadv64v2, TYPES(int f, const struct iovec *v, int n, off_t o, int g), (f, v, n, o, g),
     fails_on("pread", "preadv2", f), -1)
WRAP(int, fsync, TYPES(int f), (f), fails_on("sync", "fsync", f), -1)
WRAP(int, fdatasync, TYPES(int f), (f), fails_on("sync", "fdatasync", f), -1)
WRAP(int, syncfs, TYPES(int f), (f), fails_on("sync", "syncfs", f), -1)
WRAP(int, ftruncate, TYPES(int f, off_t n), (f, n), fails_on("truncate", "ftruncate", f), -1)
WRAP(int, ftruncate64, TYPES(int f, off_t n), (f, n), fails_on("truncate", "ftruncate", f), -1)
WRAP(int, rename, TYPES(const char *a, const char *b), (a, b), fails_at("rename", "rename", AT_FDCWD, b), -1)
WRAP(int, renameat, TYPES(int d, const char *a, int e, const char *b), (d, a, e, b), fails_at("rename", "renameat", e, b), -1)
WRAP(int, renameat2, TYPES(int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f),
     fails_at("rename", "renameat2", e, b), -1)
WRAP(int, unlink, TYPES(const char *p), (p), fails_at("unlink", "unlink", AT_FDCWD, p), -1)
WRAP(int, rmdir, TYPES(const char *p), (p), fails_at("unlink", "rmdir", AT_FDCWD, p), -1)
WRAP(int, unlinkat, TYPES(int d, const char *p, int f), (d, p, f), fails_at("unlink", "unlinkat", d, p), -1)
WRAP(int, mkdir, TYPES(const char *p, mode_t m), (p, m), fails_at("mkdir", "mkdir", AT_FDCWD, p), -1)
WRAP(int, mkdirat, TYPES(int d, const char *p, mode_t m), (d, p, m), fails_at("mkdir", "mkdirat", d, p), -1)
WRAP(int, link, TYPES(const char *a, const char *b), (a, b), fails_at("link", "link", AT_FDCWD, b), -1)
WRAP(int, linkat, TYPES(int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), fails_at("link", "linkat", e, b), -1)
WRAP(int, symlink, TYPES(const char *a, const char *b), (a, b), fails_at("link", "symlink", AT_FDCWD, b), -1)
WRAP(int, symlinkat, TYPES(const char *a, int d, const char *b), (a, d, b), fails_at("link", "symlinkat", d, b), -1)
WRAP(ssize_t, readlink, TYPES(const char *p, char *b, size_t n), (p, b, n), fails_at("readlink", "readlink", AT_FDCWD, p), -1)
WRAP(ssize_t, readlinkat, TYPES(int d, const char *p, char *b, size_t n), (d, p, b, n), fails_at("readlink", "readlinkat", d, p), -1)
WRAP(int, stat64, TYPES(const char *p, struct stat64 *s), (p, s), fails_at("stat", "stat", AT_FDCWD, p), -1)
WRAP(int, lstat64, TYPES(const char *p, struct stat64 *s), (p, s), fails_at("stat", "lstat", AT_FDCWD, p), -1)
WRAP(int, fstat64, TYPES(int f, struct stat64 *s), (f, s), fails_on("fstat", "fstat", f), -1)
WRAP(int, fstatat64, TYPES(int d, const char *p, struct stat64 *s, int f), (d, p, s, f), fails_at("stat", "fstatat", d, p), -1)
WRAP(int, access, TYPES(const char *p, int m), (p, m), fails_at("stat", "access", AT_FDCWD, p), -1)
WRAP(DIR *, opendir, TYPES(const char *p), (p), fails_at("readdir", "opendir", AT_FDCWD, p), NULL)
WRAP(DIR *, fdopendir, TYPES(int f), (f), fails_on("readdir", "fdopendir", f), NULL)
WRAP(struct dirent64 *, readdir64, TYPES(DIR *d), (d), fails_on("readdir", "readdir", dirfd(d)), NULL)
WRAP(int, utimensat, TYPES(int d, const char *p, const struct timespec t[2], int f), (d, p, t, f), fails_at("utime", "utimensat", d, p), -1)
WRAP(int, futimens, TYPES(int f, const struct timespec t[2]), (f, t), fails_on("utime", "futimens", f), -1)
WRAP(int, chmod, TYPES(const char *p, mode_t m), (p, m), fails_at("chmod", "chmod", AT_FDCWD, p), -1)
WRAP(int, fchmod, TYPES(int f, mode_t m), (f, m), fails_on("chmod", "fchmod", f), -1)
WRAP(int, fchmodat, TYPES(int d, const char *p, mode_t m, int f), (d, p, m, f), fails_at("chmod", "fchmodat", d, p), -1)
WRAP(int, flock, TYPES(int f, int o), (f, o), fails_on("lock", "flock", f), -1)
WRAP(int, inotify_add_watch, TYPES(int f, const char *p, uint32_t m), (f, p, m), fails_watch(p), -1)
WRAP(void *, mmap64, TYPES(void *a, size_t n, int p, int g, int f, off_t o), (a, n, p, g, f, o),
     f >= 0 && fails_on("mmap", "mmap", f), MAP_FAILED)
WRAP(ssize_t, send, TYPES(int f, const void *b, size_t n, int g), (f, b, n, g), fails_wire("send", "send", f), -1)
WRAP(ssize_t, sendto, TYPES(int f, const void *b, size_t n, int g, const struct sockaddr *a, socklen_t l), (f, b, n, g, a, l),
     fails_wire("send", "sendto", f), -1)
WRAP(ssize_t, sendmsg, TYPES(int f, const struct msghdr *m, int g), (f, m, g), fails_wire("send", "sendmsg", f), -1)
WRAP(ssize_t, sendfile64, TYPES(int f, int i, off_t *o, size_t n), (f, i, o, n), fails_wire("send", "sendfile", f), -1)
WRAP(ssize_t, recv, TYPES(int f, void *b, size_t n, int g), (f, b, n, g), fails_wire("recv", "recv", f), -1)
WRAP(ssize_t, recvfrom, TYPES(int f, void *b, size_t n, int g, struct sockaddr *a, socklen_t *l), (f, b, n, g, a, l),
     fails_wire("recv", "recvfrom", f), -1)
WRAP(int, connect, TYPES(int f, const struct sockaddr *a, socklen_t l), (f, a, l),
     a->sa_family == AF_INET && fails_wire("connect", "connect", f), -1)
WRAP(int, accept4, TYPES(int f, struct sockaddr *a, socklen_t *l, int g), (f, a, l, g), fails_wire("accept", "accept4", f), -1)

/* SQLite's locks, and the leases that tell of other writers. To let go of a lock never fails. */
int fcntl64(int file, int command, ...) {
    static int (*real)(int, int, ...);
    va_list more;
    va_start(more, command);
    void *value = va_arg(more, void *);
    va_end(more);
    if (!real) real = (int (*)(int, int, ...))syscall_free("fcntl64");
    int locks = (command == F_SETLK || command == F_SETLKW) && ((struct flock *)value)->l_type != F_UNLCK;
    if ((locks || (command == F_SETLEASE && (intptr_t)value != F_UNLCK)) && fails_on("lock", "fcntl", file)) return -1;
    return real(file, command, value);
}

/* openat2 has no function of its own in the C library. */
long syscall(long number, ...) {
    static long (*real)(long, ...);
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(more, long);
    va_end(more);
    if (!real) real = (long (*)(long, ...))syscall_free("syscall");
    if (number == 437 && fails_at("open", "openat2", (int)a[0], (const char *)a[1])) return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
