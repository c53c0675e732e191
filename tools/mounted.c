#include "tools/mounted.h"

#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli.h"

/* As realpath(), which asks for each prefix of the path anew: that takes minutes at a depth of 500. */
static bool resolve(const char *path, char out[PATH_MAX])
{
	char link[64];
	struct stat st;
	ssize_t n;
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX);
	if (n > 0 && (n == PATH_MAX || fstat(fd, &st) != 0 || st.st_nlink == 0))
		n = 0; /* cut, or of what is removed */
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The last component is not followed. */
static bool real_name(const char *path, char out[PATH_MAX])
{
	const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
	char *dir;
	size_t n;
	bool ok;

	if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return resolve(path, out);
	dir = slash ? mem_must_printf("%.*s/", (int)(slash - path), path) : mem_must_strdup(".");
	ok = resolve(dir, out);
	mem_free(dir);
	n = ok ? strlen(out) : 0;
	if (!ok || n + 1 + strlen(last) >= PATH_MAX)
		return false;
	snprintf(out + n, PATH_MAX - n, "%s%s", n > 1 ? "/" : "", last);
	return true;
}

char *mounted_key(const char *path, char **endpoints)
{
	char real[PATH_MAX];
	FILE *mounts;
	struct mntent *e;
	char *key = NULL;
	size_t best = 0;

	mounts = setmntent("/proc/self/mounts", "re");
	if (!mounts)
		return NULL;
	if (!real_name(path, real)) {
		endmntent(mounts);
		return NULL;
	}
	while ((e = getmntent(mounts)) != NULL) {
		size_t n = strlen(e->mnt_dir);

		if (strcmp(e->mnt_type, "fuse.paxfs") != 0 || n < best ||
		    strncmp(real, e->mnt_dir, n) != 0 || (real[n] != '/' && real[n] != '\0'))
			continue;
		best = n;
		mem_free(key);
		mem_free(*endpoints);
		key = mem_must_strdup(real[n] ? real + n : "/");
		*endpoints = mem_must_strdup(e->mnt_fsname);
	}
	endmntent(mounts);
	return key;
}

char *mounted_store(const char *path)
{
	char *source = NULL, *numeric;
	struct msg m = {""};

	mem_free(mounted_key(path, &source));
	numeric = source ? cli_resolve_list(source, &m) : NULL;
	mem_free(source);
	return numeric;
}
