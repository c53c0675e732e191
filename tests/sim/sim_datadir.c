/* The data directory: small files, the lock, and which directories were made. What is in the file `node`
 * is the product's (kv/datadir_identity.c). */
#include "kv/datadir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/datadir_identity.h"
#include "tests/sim/sim_disk_internal.h"

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

/* ---- on the disk ---- */

static struct sim_small *find(struct sim_disk *d, const char *name)
{
	struct sim_small *s;

	TAILQ_FOREACH(s, &d->smalls, link)
		if (strcmp(s->name, name) == 0)
			break;
	return s;
}

static struct sim_small *add(struct sim_disk *d, const char *name)
{
	struct sim_small *s = mem_must_alloc(sizeof(*s)), *at;

	CHECK(strlen(name) < sizeof(s->name));
	strcpy(s->name, name);
	TAILQ_FOREACH(at, &d->smalls, link)
		if (strcmp(at->name, name) > 0)
			break;
	if (at != NULL)
		TAILQ_INSERT_BEFORE(at, s, link);
	else
		TAILQ_INSERT_TAIL(&d->smalls, s, link);
	return s;
}

void sim_datadir__put(struct sim_disk *d, const char *name, const void *p, size_t len)
{
	struct sim_small *s = find(d, name);

	if (s == NULL)
		s = add(d, name);
	mem_free(s->bytes);
	s->bytes = mem_must_dup(p, len);
	s->len = len;
}

void sim_datadir__clear(struct sim_disk *d)
{
	struct sim_small *s;

	while ((s = TAILQ_FIRST(&d->smalls)) != NULL) {
		TAILQ_REMOVE(&d->smalls, s, link);
		mem_free(s->bytes);
		mem_free(s);
	}
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	struct sim_disk *d = sim_disk_find(path);
	const char *inside;
	bool *made;

	if (strncmp(path, SIM_DISK_ROOT, sizeof(SIM_DISK_ROOT) - 1) != 0)
		return __real_mkdir(path, mode);
	inside = d != NULL ? path + sizeof(SIM_DISK_ROOT) - 1 + strlen(d->name) : NULL;
	if (d != NULL && *inside == '\0')
		made = &d->made;
	else if (d != NULL && d->made && strcmp(inside, "/log") == 0)
		made = &d->made_log;
	else if (d != NULL && d->made && strcmp(inside, "/engine") == 0)
		made = &d->made_engine;
	else {
		errno = ENOENT;
		return -1;
	}
	if (*made) {
		errno = EEXIST;
		return -1;
	}
	*made = true;
	return 0;
}

/* ---- small files ---- */

static struct sim_disk *disk_of(const struct datadir *d)
{
	struct sim_disk *disk = sim_disk_find(d->path);

	CHECK(disk != NULL);
	return disk;
}

char *datadir_path(const struct datadir *d, const char *name)
{
	return mem_must_printf("%s/%s", d->path, name);
}

int datadir_read(const struct datadir *d, const char *name, struct buf *out, struct msg *m)
{
	const struct sim_small *s = find(disk_of(d), name);
	int err;

	if (s == NULL)
		return msg_set(m, ERR_NOT_FOUND, "%s/%s does not exist", d->path, name);
	err = buf_set(out, slice_of(s->bytes, s->len));
	return err == 0 ? 0 : msg_set(m, err, "%s/%s: %s", d->path, name, err_text(err));
}

int datadir_write(const struct datadir *d, const char *name, struct slice payload, struct msg *m)
{
	struct sim_disk *disk = disk_of(d);
	struct sim_op *op = sim_disk__begin(disk, SIM_OP_SMALL, name, 0, payload.p, payload.len);

	sim_disk__wait(disk, 2); /* the file, the directory */
	if (sim_disk__fails(disk, "a small file")) {
		sim_disk__drop(disk, op);
		return msg_set(m, ERR_IO, "write %s/%s: I/O error", d->path, name);
	}
	sim_disk__done(disk, op);
	return 0;
}

bool datadir_has(const struct datadir *d, const char *name)
{
	struct sim_disk *disk = disk_of(d);

	if (strcmp(name, "log") == 0)
		return disk->made_log && !TAILQ_EMPTY(&disk->files);
	if (strcmp(name, "engine") == 0)
		return disk->made_engine;
	return find(disk, name) != NULL;
}

/* ---- opening ---- */

static int check_empty(const struct sim_disk *disk, const struct datadir *d, struct msg *m)
{
	if (disk->made_log || disk->made_engine || !TAILQ_EMPTY(&disk->smalls))
		return msg_set(m, ERR_IDENTITY, "%s is no data directory: no file `node`", d->path);
	return 0;
}

int datadir_open(const char *path, uint32_t node, uint64_t birth, uint64_t wall_ns,
		 struct datadir *out, struct msg *m)
{
	struct datadir d = {.fd = -1, .lock_fd = -1};
	struct sim_disk *disk = sim_disk_find(path);
	int err;

	if (disk == NULL)
		return msg_set(m, ERR_IO, "open %s: there is no such disk", path);
	if (disk->locked)
		return msg_set(m, ERR_LOCKED, "%s is in use by another process", path);
	disk->made = true;
	disk->locked = true;
	d.lock_fd = 0;
	d.path = mem_must_strdup(path);
	if (find(disk, "node") != NULL)
		err = datadir__identity_read(&d, node, m);
	else if ((err = check_empty(disk, &d, m)) == 0)
		err = datadir__identity_write(&d, node, birth, wall_ns, m);
	if (err) {
		datadir_close(&d);
		return err;
	}
	*out = d;
	return 0;
}

void datadir_close(struct datadir *d)
{
	if (d->path == NULL)
		return;
	if (d->lock_fd >= 0)
		disk_of(d)->locked = false;
	mem_free(d->path);
	*d = (struct datadir){.fd = -1, .lock_fd = -1};
}

/* ---- what a node tells of its process: the same in every run ---- */

pid_t __wrap_getpid(void);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

pid_t __wrap_getpid(void)
{
	return 1;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	return strncmp(path, "/proc/", 6) == 0 ? NULL : __real_fopen(path, mode);
}
