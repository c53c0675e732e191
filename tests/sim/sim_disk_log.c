/* The files of the log: a wal_device whose writes take time, tear and fail. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_disk_internal.h"

#define HEAD_MAX 96u /* a sector that is torn keeps so few bytes, half of the time */

struct sim_device { /* the process's */
	struct wal_device device;
	struct sim_disk *disk;
};

struct sim_handle {
	struct wal_file file;
	char name[SIM_NAME_MAX];
};

static struct sim_disk *disk_of(struct wal_device *d)
{
	return container_of(d, struct sim_device, device)->disk;
}

static struct sim_file *file_of(struct wal_file *file)
{
	return sim_disk__file(disk_of(file->device),
			      container_of(file, struct sim_handle, file)->name);
}

/* ---- files ---- */

struct sim_file *sim_disk__file(struct sim_disk *d, const char *name)
{
	struct sim_file *f;

	TAILQ_FOREACH(f, &d->files, link)
		if (strcmp(f->name, name) == 0)
			break;
	return f;
}

struct sim_file *sim_disk__file_add(struct sim_disk *d, const char *name, uint64_t size)
{
	struct sim_file *f = mem_must_alloc(sizeof(*f)), *at;

	CHECK(strlen(name) < sizeof(f->name) && sim_disk__file(d, name) == NULL);
	strcpy(f->name, name);
	f->size = size;
	f->bytes = mem_must_alloc(size);
	TAILQ_FOREACH(at, &d->files, link)
		if (strcmp(at->name, name) > 0)
			break;
	if (at != NULL)
		TAILQ_INSERT_BEFORE(at, f, link);
	else
		TAILQ_INSERT_TAIL(&d->files, f, link);
	return f;
}

void sim_disk__file_remove(struct sim_disk *d, struct sim_file *f)
{
	sim_disk__touch(d, f, 0, f->size);
	TAILQ_REMOVE(&d->files, f, link);
	mem_free(f->bytes);
	mem_free(f);
}

uint64_t sim_disk__log_bytes(const struct sim_disk *d)
{
	const struct sim_file *f;
	uint64_t sum = 0;

	TAILQ_FOREACH(f, &d->files, link)
		sum += f->size;
	return sum;
}

/* ---- bytes ---- */

void sim_disk__past_free(struct sim_disk *d, struct sim_past *p)
{
	TAILQ_REMOVE(&d->pasts, p, link);
	d->past_count--;
	mem_free(p);
}

void sim_disk__touch(struct sim_disk *d, const struct sim_file *f, uint64_t offset, size_t len)
{
	struct sim_past *p, *next;

	TAILQ_FOREACH_SAFE(p, &d->pasts, link, next)
		if (p->offset < offset + len && offset < p->offset + p->len &&
		    strcmp(p->name, f->name) == 0)
			sim_disk__past_free(d, p);
}

static void put_bytes(struct sim_file *f, uint64_t offset, const uint8_t *p, size_t len)
{
	CHECK(offset + len <= f->size);
	memcpy(f->bytes + offset, p, len);
	if (offset + len > f->high)
		f->high = offset + len;
}

void sim_disk__write(struct sim_disk *d, struct sim_file *f, uint64_t offset, const void *p,
		     size_t len)
{
	struct sim_past *past = mem_must_realloc(NULL, sizeof(*past) + len);

	CHECK(offset + len <= f->size);
	sim_disk__touch(d, f, offset, len);
	strcpy(past->name, f->name);
	past->offset = offset;
	past->len = len;
	memcpy(past->before, f->bytes + offset, len);
	if (d->past_count == SIM_PAST_MAX)
		sim_disk__past_free(d, TAILQ_FIRST(&d->pasts));
	TAILQ_INSERT_TAIL(&d->pasts, past, link);
	d->past_count++;
	put_bytes(f, offset, p, len);
}

bool sim_disk__tear(struct sim_disk *d, struct sim_file *f, uint64_t offset, const uint8_t *p,
		    size_t len)
{
	uint32_t keep = (uint32_t)sim_below(1000001); /* ppm of the sectors */
	size_t written = 0;

	sim_disk__touch(d, f, offset, len);
	for (size_t at = 0; at < len; at += SIM_SECTOR) {
		size_t n = len - at < SIM_SECTOR ? len - at : SIM_SECTOR;

		if (!sim_chance(keep))
			continue;
		if (sim_below(4) == 0)
			n = sim_below(sim_below(2) == 0 && n > HEAD_MAX ? HEAD_MAX : n);
		put_bytes(f, offset + at, p + at, n);
		written += n;
	}
	return written > 0 && written < len;
}

/* ---- the device ---- */

static int log_list(struct wal_device *dev, wal_device_each *each, void *ctx, struct msg *m)
{
	const struct sim_file *f;

	(void)m;
	TAILQ_FOREACH(f, &disk_of(dev)->files, link)
		each(ctx, f->name, f->size);
	return 0;
}

static struct wal_file *handle_new(struct wal_device *dev, const char *name)
{
	struct sim_handle *h = mem_must_alloc(sizeof(*h));

	h->file.device = dev;
	strcpy(h->name, name);
	return &h->file;
}

static int log_open(struct wal_device *dev, const char *name, struct wal_file **out, struct msg *m)
{
	if (sim_disk__file(disk_of(dev), name) == NULL)
		return msg_set(m, ERR_NOT_FOUND, "open %s/log/%s: it is not there",
			       sim_disk_name(disk_of(dev)), name);
	*out = handle_new(dev, name);
	return 0;
}

static uint64_t room(struct sim_disk *d)
{
	uint64_t used = sim_disk_used(d), capacity = d->faults.capacity;
	const struct sim_op *op;

	if (capacity == 0)
		return UINT64_MAX / 2;
	TAILQ_FOREACH(op, &d->ops, link)
		if (op->kind == SIM_OP_CREATE)
			used += op->len;
	return used >= capacity ? 0 : capacity - used;
}

static int no_space(struct sim_disk *d, const char *name, struct msg *m)
{
	sim_trace("disk %s: no space for %s", sim_disk_name(d), name);
	return msg_set(m, ERR_NOSPACE, "create %s/log/%s: no space", sim_disk_name(d), name);
}

static int log_create(struct wal_device *dev, const char *name, uint64_t size,
		      struct wal_file **out, struct msg *m)
{
	struct sim_disk *d = disk_of(dev);
	struct sim_op *op;

	CHECK(size % WAL_DEVICE_BLOCK_MAX == 0 && strlen(name) < SIM_NAME_MAX);
	if (size > room(d))
		return no_space(d, name, m);
	op = sim_disk__begin(d, SIM_OP_CREATE, name, 0, NULL, size);
	sim_disk__wait(d, 4); /* zeros are written */
	if (sim_disk__fails(d, "a create")) {
		sim_disk__drop(d, op);
		return msg_set(m, ERR_IO, "create %s/log/%s: I/O error", sim_disk_name(d), name);
	}
	sim_disk__done(d, op);
	*out = handle_new(dev, name);
	return 0;
}

static void log_close(struct wal_file *file)
{
	if (file != NULL)
		mem_free(container_of(file, struct sim_handle, file));
}

static int log_pread(struct wal_file *file, void *p, size_t len, uint64_t offset, struct msg *m)
{
	const struct sim_file *f = file_of(file);

	if (f == NULL || offset > f->size || len > f->size - offset)
		return msg_set(m, ERR_IO, "read a log segment: it ends too early");
	memcpy(p, f->bytes + offset, len);
	return 0;
}

static void check_alone(struct sim_disk *d, const char *name, uint64_t offset, size_t len)
{
	const struct sim_op *op;

	TAILQ_FOREACH(op, &d->ops, link)
		CHECK(op->kind != SIM_OP_WRITE || strcmp(op->name, name) != 0 ||
		      offset + len <= op->offset || op->offset + op->len <= offset);
}

static int log_pwrite_sync(struct wal_file *file, const void *p, size_t len, uint64_t offset,
			   struct msg *m)
{
	struct sim_disk *d = disk_of(file->device);
	const struct sim_file *f = file_of(file);
	struct sim_op *op;
	uint64_t at[2] = {offset, len};

	CHECK(f != NULL && len > 0 && offset <= f->size && len <= f->size - offset);
	CHECK(((uintptr_t)p | len | offset) % d->block == 0);
	check_alone(d, f->name, offset, len);
	sim_hash(at, sizeof(at));
	op = sim_disk__begin(d, SIM_OP_WRITE, f->name, offset, p, len);
	sim_disk__wait(d, 1);
	if (sim_disk__fails(d, "a write")) {
		sim_disk__drop(d, op);
		return msg_set(m, ERR_IO, "write %s/log: I/O error", sim_disk_name(d));
	}
	sim_disk__done(d, op);
	return 0;
}

static int log_remove(struct wal_device *dev, const char *name, struct msg *m)
{
	struct sim_disk *d = disk_of(dev);
	struct sim_file *f = sim_disk__file(d, name);

	if (f == NULL)
		return msg_set(m, ERR_NOT_FOUND, "remove %s/log/%s: it is not there",
			       sim_disk_name(d), name);
	sim_disk__file_remove(d, f);
	return 0;
}

static uint64_t log_free_bytes(struct wal_device *dev)
{
	return room(disk_of(dev));
}

static uint64_t log_random(struct wal_device *dev)
{
	(void)dev;
	return sim_random();
}

static void log_free(struct wal_device *dev)
{
	mem_free(container_of(dev, struct sim_device, device));
}

static const struct wal_device_ops log_ops = {
	.list = log_list,
	.open = log_open,
	.create = log_create,
	.close = log_close,
	.pread = log_pread,
	.pwrite_sync = log_pwrite_sync,
	.remove = log_remove,
	.free_bytes = log_free_bytes,
	.random = log_random,
	.free = log_free,
};

int wal_device_dir(const char *path, struct wal_device **out, struct msg *m)
{
	struct sim_disk *d = sim_disk_find(path);
	struct sim_device *dev;

	if (d == NULL || !d->made_log)
		return msg_set(m, ERR_NOT_FOUND, "open %s: it is not there", path);
	dev = mem_must_alloc(sizeof(*dev));
	dev->device.ops = &log_ops;
	dev->device.block = d->block;
	dev->disk = d;
	*out = &dev->device;
	return 0;
}
