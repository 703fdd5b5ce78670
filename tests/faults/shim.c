/* Loaded before libc: counts the calls that touch a directory, and fails the n-th of a kind.

   Armed by faults_arm(), or at start by FAULTS_BELOW, FAULTS_OP, FAULTS_AT, FAULTS_ERRNO, FAULTS_MODE and
   FAULTS_LOG. What was failed is a line in the log: moment, kind, serial number, path. With FAULTS_AT=0
   nothing fails and every call is logged. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ONCE 0
#define FOR_GOOD 1
#define SHORT 2

static char below[PATH_MAX], log_path[PATH_MAX], wanted[16];
static long at = -1, count;
static int number, mode;

void faults_arm(const char *directory, const char *op, long n, int error, int how, const char *log)
{
    snprintf(below, sizeof below, "%s", directory);
    snprintf(wanted, sizeof wanted, "%s", op);
    snprintf(log_path, sizeof log_path, "%s", log);
    count = 0;
    number = error;
    mode = how;
    at = n;
}

__attribute__((constructor)) static void arm_at_start(void)
{
    const char *directory = getenv("FAULTS_BELOW");
    if (directory)
        faults_arm(directory, getenv("FAULTS_OP"), atol(getenv("FAULTS_AT")), atoi(getenv("FAULTS_ERRNO")),
                   atoi(getenv("FAULTS_MODE")), getenv("FAULTS_LOG"));
}

static void note(const char *op, long serial, const char *path)
{
    char line[PATH_MAX + 100];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%lld.%09ld %s %ld %s\n", (long long)now.tv_sec, now.tv_nsec, op,
                          serial, path);
    int fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

/* The absolute path of what a call names; an empty one when that is not below the directory. */
static void locate(char *path, int directory, const char *name)
{
    char link[64];
    ssize_t length = 0;
    if (name == NULL || name[0] != '/') {
        if (directory == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
        if (length < 0)
            length = 0;
        if (name != NULL && length > 0 && length < PATH_MAX - 1)
            path[length++] = '/';
    }
    snprintf(path + length, PATH_MAX - length, "%s", name ? name : "");
    size_t size = strlen(below);
    if (strncmp(path, below, size) != 0 || (path[size] != '/' && path[size] != 0))
        path[0] = 0;
}

/* The error that this call is to have; 0 when it is to go through, -1 when it is to be cut short. */
static int fault(const char *op, int changes, int directory, const char *name)
{
    char path[PATH_MAX];
    int saved = errno;
    if (at < 0)
        return 0;
    locate(path, directory, name);
    if (path[0] == 0) {
        errno = saved;
        return 0;
    }
    int meant = strcmp(wanted, op) == 0 || strcmp(wanted, "any") == 0 || (changes && strcmp(wanted, "change") == 0);
    long serial = meant || at == 0 ? __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) : 0;
    int fails = at > 0 && meant && (mode == FOR_GOOD ? serial >= at : serial == at);
    if (fails || at == 0)
        note(op, serial, path);
    errno = saved;
    if (!fails)
        return 0;
    return mode == SHORT ? -1 : number;
}

#define REAL(type, name, ...)                                                                                \
    static type (*real)(__VA_ARGS__);                                                                        \
    if (!real)                                                                                               \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);

#define FAIL(op, changes, directory, path, value)                                                            \
    do {                                                                                                     \
        int error = fault(op, changes, directory, path);                                                     \
        if (error) {                                                                                         \
            errno = error;                                                                                   \
            return value;                                                                                    \
        }                                                                                                    \
    } while (0)

#define WRITES(flags) (((flags) & (O_WRONLY | O_RDWR | O_CREAT)) != 0)

static int open_at(int directory, const char *path, int flags, mode_t how)
{
    FAIL("open", WRITES(flags), directory, path, -1);
    return syscall(SYS_openat, directory, path, flags, how);
}

#define MODE_OF(flags)                                                                                       \
    mode_t how = 0;                                                                                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                   \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        how = va_arg(more, int);                                                                             \
        va_end(more);                                                                                        \
    }

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        MODE_OF(flags)                                                                                       \
        return open_at(AT_FDCWD, path, flags, how);                                                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                         \
    int name(int directory, const char *path, int flags, ...)                                                \
    {                                                                                                        \
        MODE_OF(flags)                                                                                       \
        return open_at(directory, path, flags, how);                                                         \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t read(int fd, void *data, size_t size)
{
    REAL(ssize_t, "read", int, void *, size_t)
    FAIL("read", 0, fd, NULL, -1);
    return real(fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t)
    int error = fault("write", 1, fd, NULL);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return real(fd, data, error < 0 ? size / 2 : size);
}

/* As in the kernel: the descriptor is gone whatever the answer. */
int close(int fd)
{
    REAL(int, "close", int)
    int error = fault("close", 0, fd, NULL);
    int answer = real(fd);
    if (!error)
        return answer;
    errno = error;
    return -1;
}

int fsync(int fd)
{
    REAL(int, "fsync", int)
    FAIL("fsync", 1, fd, NULL, -1);
    return real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int)
    FAIL("fsync", 1, fd, NULL, -1);
    return real(fd);
}

int fchmod(int fd, mode_t how)
{
    REAL(int, "fchmod", int, mode_t)
    FAIL("chmod", 1, fd, NULL, -1);
    return real(fd, how);
}

int chmod(const char *path, mode_t how)
{
    REAL(int, "chmod", const char *, mode_t)
    FAIL("chmod", 1, AT_FDCWD, path, -1);
    return real(path, how);
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *)
    FAIL("rename", 1, AT_FDCWD, to, -1);
    return real(from, to);
}

int renameat(int old, const char *from, int new, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *)
    FAIL("rename", 1, new, to, -1);
    return real(old, from, new, to);
}

int mkdir(const char *path, mode_t how)
{
    REAL(int, "mkdir", const char *, mode_t)
    FAIL("mkdir", 1, AT_FDCWD, path, -1);
    return real(path, how);
}

int mkdirat(int directory, const char *path, mode_t how)
{
    REAL(int, "mkdirat", int, const char *, mode_t)
    FAIL("mkdir", 1, directory, path, -1);
    return real(directory, path, how);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *)
    FAIL("unlink", 1, AT_FDCWD, path, -1);
    return real(path);
}

int unlinkat(int directory, const char *path, int flags)
{
    REAL(int, "unlinkat", int, const char *, int)
    FAIL(flags & AT_REMOVEDIR ? "rmdir" : "unlink", 1, directory, path, -1);
    return real(directory, path, flags);
}

int rmdir(const char *path)
{
    REAL(int, "rmdir", const char *)
    FAIL("rmdir", 1, AT_FDCWD, path, -1);
    return real(path);
}

DIR *opendir(const char *path)
{
    REAL(DIR *, "opendir", const char *)
    FAIL("opendir", 0, AT_FDCWD, path, NULL);
    return real(path);
}

DIR *fdopendir(int fd)
{
    REAL(DIR *, "fdopendir", int)
    FAIL("opendir", 0, fd, NULL, NULL);
    return real(fd);
}

/* Pythons that were built against a glibc before 2.33 ask through the names with the underlines. */
#define STAT(name, state)                                                                                    \
    int name(const char *path, struct state *found)                                                          \
    {                                                                                                        \
        REAL(int, #name, const char *, struct state *)                                                       \
        FAIL("stat", 0, AT_FDCWD, path, -1);                                                                 \
        return real(path, found);                                                                            \
    }                                                                                                        \
    int __x##name(int version, const char *path, struct state *found)                                        \
    {                                                                                                        \
        REAL(int, "__x" #name, int, const char *, struct state *)                                            \
        FAIL("stat", 0, AT_FDCWD, path, -1);                                                                 \
        return real(version, path, found);                                                                   \
    }
STAT(stat, stat)
STAT(stat64, stat64)

#define LSTAT(name, old, state)                                                                              \
    int name(const char *path, struct state *found)                                                          \
    {                                                                                                        \
        REAL(int, #name, const char *, struct state *)                                                       \
        FAIL("stat", 0, AT_FDCWD, path, -1);                                                                 \
        return real(path, found);                                                                            \
    }                                                                                                        \
    int old(int version, const char *path, struct state *found)                                              \
    {                                                                                                        \
        REAL(int, #old, int, const char *, struct state *)                                                   \
        FAIL("stat", 0, AT_FDCWD, path, -1);                                                                 \
        return real(version, path, found);                                                                   \
    }
LSTAT(lstat, __lxstat, stat)
LSTAT(lstat64, __lxstat64, stat64)

#define FSTAT(name, old, state)                                                                              \
    int name(int fd, struct state *found)                                                                    \
    {                                                                                                        \
        REAL(int, #name, int, struct state *)                                                                \
        FAIL("fstat", 0, fd, NULL, -1);                                                                       \
        return real(fd, found);                                                                              \
    }                                                                                                        \
    int old(int version, int fd, struct state *found)                                                        \
    {                                                                                                        \
        REAL(int, #old, int, int, struct state *)                                                            \
        FAIL("fstat", 0, fd, NULL, -1);                                                                       \
        return real(version, fd, found);                                                                     \
    }
FSTAT(fstat, __fxstat, stat)
FSTAT(fstat64, __fxstat64, stat64)

int fstatat64(int directory, const char *path, struct stat64 *found, int flags)
{
    REAL(int, "fstatat64", int, const char *, struct stat64 *, int)
    FAIL("stat", 0, directory, path, -1);
    return real(directory, path, found, flags);
}
