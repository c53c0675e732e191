#include "tests/lib/wal_fault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"

#define SECTOR	  512u
#define FILES_MAX 1024u
#define STEPS_MAX 4096u /* of which it is known what they were */

struct disk_file {
	char name[WAL_DEVICE_NAME_MAX];
	uint64_t size;
	uint8_t *bytes;
};

struct wal_fault {
	struct wal_device device;
	pthread_mutex_t lock;
	struct disk_file *files[FILES_MAX];
	uint32_t count;
	uint64_t seed;
	uint64_t steps, cut_at, fail_at, fail_from;
	bool created[STEPS_MAX + 1]; /* by step */
	uint64_t capacity;
	bool dead, no_create;
	bool hold, held;
	pthread_cond_t turned; /* hold or held */
};

struct open_file {
	struct wal_file file;
	char name[WAL_DEVICE_NAME_MAX]; /* looked up each time: files may get lost */
};

static struct wal_fault *fault_of(struct wal_device *d)
{
	return container_of(d, struct wal_fault, device);
}

static uint64_t random_next(struct wal_fault *f)
{
	return splitmix64(&f->seed);
}

static struct disk_file *disk_find(struct wal_fault *f, const char *name)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (strcmp(f->files[i]->name, name) == 0)
			return f->files[i];
	}
	return NULL;
}

static struct disk_file *disk_add(struct wal_fault *f, const char *name, uint64_t size)
{
	struct disk_file *d = mem_must_alloc(sizeof(*d));
	uint32_t at = f->count;

	CHECK(f->count < FILES_MAX && strlen(name) < sizeof(d->name));
	strcpy(d->name, name);
	d->size = size;
	d->bytes = mem_must_alloc(size);
	for (; at > 0 && strcmp(f->files[at - 1]->name, name) > 0; at--)
		f->files[at] = f->files[at - 1];
	f->files[at] = d;
	f->count++;
	return d;
}

/* ---- steps ---- */

enum step { STEP_GO, STEP_CUT, STEP_FAIL, STEP_DEAD };

static enum step step(struct wal_fault *f)
{
	if (f->dead)
		return STEP_DEAD;
	f->steps++;
	if (f->steps == f->cut_at) {
		f->dead = true;
		return STEP_CUT;
	}
	if (f->fail_from != 0 && f->steps >= f->fail_from)
		return STEP_FAIL;
	return f->steps == f->fail_at ? STEP_FAIL : STEP_GO;
}

/* Some sectors of a write get to the disk, in no order; one may be torn. */
static void write_some(struct wal_fault *f, uint8_t *to, const uint8_t *from, size_t len)
{
	uint64_t style = random_next(f) % 8;

	for (size_t at = 0; at < len; at += SECTOR) {
		size_t n = len - at < SECTOR ? len - at : SECTOR;
		bool torn = random_next(f) % 4 == 0;

		if (style == 0 || (style != 1 && random_next(f) % 2 == 0))
			continue;
		if (torn)
			n = random_next(f) % (random_next(f) % 2 == 0 && n > 96 ? 96 : n);
		memcpy(to + at, from + at, n);
	}
}

/* ---- operations ---- */

static int fault_list(struct wal_device *d, wal_device_each *each, void *ctx, struct msg *m)
{
	struct wal_fault *f = fault_of(d);

	(void)m;
	for (uint32_t i = f->count; i > 0; i--)
		each(ctx, f->files[i - 1]->name, f->files[i - 1]->size);
	return 0;
}

static struct wal_file *handle_new(struct wal_fault *f, const char *name)
{
	struct open_file *o = mem_must_alloc(sizeof(*o));

	o->file.device = &f->device;
	strcpy(o->name, name);
	return &o->file;
}

static int fault_open(struct wal_device *d, const char *name, struct wal_file **out, struct msg *m)
{
	struct wal_fault *f = fault_of(d);

	if (disk_find(f, name) == NULL)
		return msg_set(m, ERR_NOT_FOUND, "no file %s", name);
	*out = handle_new(f, name);
	return 0;
}

static uint64_t used(const struct wal_fault *f)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < f->count; i++)
		sum += f->files[i]->size;
	return sum;
}

static int create_locked(struct wal_fault *f, const char *name, uint64_t size, struct msg *m)
{
	enum step s = step(f);

	if (f->steps <= STEPS_MAX)
		f->created[f->steps] = true;
	if (s == STEP_FAIL)
		return msg_set(m, ERR_IO, "create of %s was made to fail", name);
	if (s == STEP_GO && (f->no_create || used(f) + size > f->capacity))
		return msg_set(m, ERR_NOSPACE, "no space for %s", name);
	if (s == STEP_GO || (s == STEP_CUT && random_next(f) % 2 == 0)) {
		CHECK(disk_find(f, name) == NULL);
		disk_add(f, name, size);
	}
	return 0;
}

static int fault_create(struct wal_device *d, const char *name, uint64_t size,
			struct wal_file **out, struct msg *m)
{
	struct wal_fault *f = fault_of(d);
	int err;

	pthread_mutex_lock(&f->lock);
	err = create_locked(f, name, size, m);
	pthread_mutex_unlock(&f->lock);
	if (err == 0)
		*out = handle_new(f, name);
	return err;
}

static void fault_close(struct wal_file *file)
{
	if (file != NULL)
		mem_free(container_of(file, struct open_file, file));
}

static int fault_pread(struct wal_file *file, void *p, size_t len, uint64_t offset, struct msg *m)
{
	struct wal_fault *f = fault_of(file->device);
	struct disk_file *d;
	int err = 0;

	pthread_mutex_lock(&f->lock);
	d = disk_find(f, container_of(file, struct open_file, file)->name);
	if (d == NULL && f->dead)
		memset(p, 0, len);
	else if (d == NULL || offset + len > d->size)
		err = msg_set(m, ERR_IO, "read beyond the end");
	else
		memcpy(p, d->bytes + offset, len);
	pthread_mutex_unlock(&f->lock);
	return err;
}

static int write_locked(struct wal_fault *f, struct disk_file *d, const uint8_t *p, size_t len,
			uint64_t offset, struct msg *m)
{
	for (int phase = 0; phase < 2; phase++) {
		enum step s = step(f);

		if (s == STEP_CUT || s == STEP_FAIL)
			write_some(f, d->bytes + offset, p, len);
		if (s == STEP_FAIL)
			return msg_set(m, ERR_IO, phase == 0 ? "write was made to fail"
							      : "sync was made to fail");
		if (s != STEP_GO)
			return 0;
	}
	memcpy(d->bytes + offset, p, len);
	return 0;
}

static void wait_while_held(struct wal_fault *f)
{
	while (f->hold) {
		f->held = true;
		pthread_cond_broadcast(&f->turned);
		pthread_cond_wait(&f->turned, &f->lock);
	}
	f->held = false;
}

static int fault_pwrite_sync(struct wal_file *file, const void *p, size_t len, uint64_t offset,
			     struct msg *m)
{
	struct wal_fault *f = fault_of(file->device);
	struct disk_file *d;
	int err = 0;

	CHECK(offset % f->device.block == 0 && len % f->device.block == 0 && len > 0);
	CHECK((uintptr_t)p % SECTOR == 0);
	pthread_mutex_lock(&f->lock);
	wait_while_held(f);
	d = disk_find(f, container_of(file, struct open_file, file)->name);
	if (d != NULL) {
		CHECK(offset + len <= d->size);
		err = write_locked(f, d, p, len, offset, m);
	} else {
		CHECK(f->dead);
	}
	pthread_mutex_unlock(&f->lock);
	return err;
}

static int fault_remove(struct wal_device *d, const char *name, struct msg *m)
{
	struct wal_fault *f = fault_of(d);

	for (uint32_t i = 0; i < f->count; i++) {
		if (strcmp(f->files[i]->name, name) == 0) {
			wal_fault_lose(f, i);
			return 0;
		}
	}
	return msg_set(m, ERR_NOT_FOUND, "no file %s", name);
}

static uint64_t fault_free_bytes(struct wal_device *d)
{
	struct wal_fault *f = fault_of(d);
	uint64_t n;

	pthread_mutex_lock(&f->lock);
	n = used(f) < f->capacity ? f->capacity - used(f) : 0;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static uint64_t fault_random(struct wal_device *d)
{
	struct wal_fault *f = fault_of(d);
	uint64_t v;

	pthread_mutex_lock(&f->lock);
	v = random_next(f);
	pthread_mutex_unlock(&f->lock);
	return v;
}

static void fault_free(struct wal_device *d)
{
	wal_fault_free(fault_of(d));
}

static const struct wal_device_ops fault_ops = {
	.list = fault_list,
	.open = fault_open,
	.create = fault_create,
	.close = fault_close,
	.pread = fault_pread,
	.pwrite_sync = fault_pwrite_sync,
	.remove = fault_remove,
	.free_bytes = fault_free_bytes,
	.random = fault_random,
	.free = fault_free,
};

/* ---- for the test ---- */

struct wal_fault *wal_fault_new(uint64_t seed)
{
	struct wal_fault *f = mem_must_alloc(sizeof(*f));

	f->device.ops = &fault_ops;
	f->device.block = SECTOR;
	f->seed = seed;
	f->capacity = UINT64_MAX;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->turned, NULL);
	return f;
}

struct wal_fault *wal_fault_clone(const struct wal_fault *f, uint64_t seed)
{
	struct wal_fault *c = wal_fault_new(seed);

	c->device.block = f->device.block;
	c->capacity = f->capacity;
	for (uint32_t i = 0; i < f->count; i++) {
		struct disk_file *d = disk_add(c, f->files[i]->name, f->files[i]->size);

		memcpy(d->bytes, f->files[i]->bytes, d->size);
	}
	return c;
}

void wal_fault_free(struct wal_fault *f)
{
	if (f == NULL)
		return;
	while (f->count > 0)
		wal_fault_lose(f, f->count - 1);
	pthread_cond_destroy(&f->turned);
	pthread_mutex_destroy(&f->lock);
	mem_free(f);
}

struct wal_device *wal_fault_device(struct wal_fault *f)
{
	return &f->device;
}

uint64_t wal_fault_steps(const struct wal_fault *f)
{
	return f->steps;
}

void wal_fault_cut_at(struct wal_fault *f, uint64_t at)
{
	f->cut_at = at;
}

void wal_fault_cut(struct wal_fault *f)
{
	pthread_mutex_lock(&f->lock);
	f->dead = true;
	pthread_mutex_unlock(&f->lock);
}

void wal_fault_fail_at(struct wal_fault *f, uint64_t at)
{
	f->fail_at = at;
}

void wal_fault_fail_from(struct wal_fault *f, uint64_t at)
{
	f->fail_from = at;
}

bool wal_fault_was_create(const struct wal_fault *f, uint64_t at)
{
	CHECK(at >= 1 && at <= f->steps && at <= STEPS_MAX);
	return f->created[at];
}

void wal_fault_capacity(struct wal_fault *f, uint64_t bytes)
{
	pthread_mutex_lock(&f->lock);
	f->capacity = bytes;
	pthread_mutex_unlock(&f->lock);
}

void wal_fault_no_create(struct wal_fault *f, bool yes)
{
	pthread_mutex_lock(&f->lock);
	f->no_create = yes;
	pthread_mutex_unlock(&f->lock);
}

void wal_fault_hold(struct wal_fault *f, bool yes)
{
	pthread_mutex_lock(&f->lock);
	f->hold = yes;
	pthread_cond_broadcast(&f->turned);
	pthread_mutex_unlock(&f->lock);
}

void wal_fault_wait_held(struct wal_fault *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->held)
		pthread_cond_wait(&f->turned, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void wal_fault_block(struct wal_fault *f, uint32_t block)
{
	f->device.block = block;
}

bool wal_fault_dead(struct wal_fault *f)
{
	bool dead;

	pthread_mutex_lock(&f->lock);
	dead = f->dead;
	pthread_mutex_unlock(&f->lock);
	return dead;
}

void wal_fault_reboot(struct wal_fault *f)
{
	f->dead = false;
	f->steps = f->cut_at = f->fail_at = f->fail_from = 0;
	memset(f->created, 0, sizeof(f->created));
}

uint32_t wal_fault_count(const struct wal_fault *f)
{
	return f->count;
}

const char *wal_fault_name(const struct wal_fault *f, uint32_t i)
{
	return f->files[i]->name;
}

uint8_t *wal_fault_bytes(struct wal_fault *f, uint32_t i, uint64_t *size)
{
	*size = f->files[i]->size;
	return f->files[i]->bytes;
}

void wal_fault_lose(struct wal_fault *f, uint32_t i)
{
	mem_free(f->files[i]->bytes);
	mem_free(f->files[i]);
	memmove(&f->files[i], &f->files[i + 1], (f->count - i - 1) * sizeof(f->files[0]));
	f->count--;
}
