/* The disk that a node's data lies on, as far as df cares. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "kv/node_internal.h"

/* FNV-1a */
static uint64_t mix(uint64_t h, const void *p, size_t len)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	return h;
}

/* The same for two nodes exactly if they use one disk: one device of one running kernel. */
static uint64_t disk_id(const struct stat *st)
{
	uint64_t h = 0xcbf29ce484222325ull;
	char boot[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (f) {
		if (!fgets(boot, sizeof(boot), f))
			boot[0] = '\0';
		fclose(f);
	}
	h = mix(h, boot, strlen(boot));
	return mix(h, &st->st_dev, sizeof(st->st_dev));
}

void kv__node_disk(const char *dir, struct kv_node_status *out)
{
	struct statvfs v;
	struct stat st;

	if (stat(dir, &st) != 0 || statvfs(dir, &v) != 0)
		return; /* zeros: nothing is known of it */
	out->disk_id = disk_id(&st);
	out->disk_total = (uint64_t)v.f_blocks * v.f_frsize;
	out->disk_free = (uint64_t)v.f_bavail * v.f_frsize;
}
