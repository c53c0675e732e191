#include "tests/lib/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

void scratch_make(char *path, size_t size, const char *name)
{
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	CHECK((size_t)snprintf(path, size, "%s/paxfs-%s-XXXXXX", where, name) < size);
	CHECK(mkdtemp(path) != NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void scratch_remove(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void scratch_empty(const char *path)
{
	scratch_remove(path);
	CHECK(mkdir(path, 0700) == 0);
}
