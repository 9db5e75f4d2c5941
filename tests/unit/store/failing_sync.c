/* Preloaded into a process: while the file named by FAILING_SYNC exists, the disk fails to sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int descriptor)
{
    const char *switch_file = getenv("FAILING_SYNC");
    if (switch_file && access(switch_file, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
