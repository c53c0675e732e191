/* Disks by name; what is under way on them, and what a crash makes of that; copies. */
#include "tests/sim/sim_disk_internal.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static TAILQ_HEAD(, sim_disk) disks = TAILQ_HEAD_INITIALIZER(disks);

/* ---- disks ---- */

static struct sim_disk *disk_new(char *name)
{
	struct sim_disk *d = mem_must_alloc(sizeof(*d));

	d->name = name;
	TAILQ_INIT(&d->files);
	TAILQ_INIT(&d->smalls);
	TAILQ_INIT(&d->ops);
	TAILQ_INIT(&d->pasts);
	TAILQ_INIT(&d->groups);
	TAILQ_INIT(&d->batches);
	return d;
}

struct sim_disk *sim_disk_new(const char *name)
{
	struct sim_disk *d = disk_new(mem_must_strdup(name));

	CHECK(*name != '\0' && strchr(name, '/') == NULL);
	d->block = sim_below(2) == 0 ? SIM_SECTOR : WAL_DEVICE_BLOCK_MAX;
	TAILQ_INSERT_TAIL(&disks, d, link);
	return d;
}

static void ops_clear(struct sim_disk *d)
{
	struct sim_op *op;

	while ((op = TAILQ_FIRST(&d->ops)) != NULL) {
		TAILQ_REMOVE(&d->ops, op, link);
		mem_free(op->bytes);
		mem_free(op);
	}
}

static void content_clear(struct sim_disk *d)
{
	while (!TAILQ_EMPTY(&d->pasts))
		sim_disk__past_free(d, TAILQ_FIRST(&d->pasts));
	while (!TAILQ_EMPTY(&d->files))
		sim_disk__file_remove(d, TAILQ_FIRST(&d->files));
	sim_datadir__clear(d);
	sim_engine__clear(d);
	d->made = d->made_log = d->made_engine = false;
}

void sim_disk_free(struct sim_disk *d)
{
	if (d == NULL)
		return;
	sim_engine__abandon(d);
	ops_clear(d);
	content_clear(d);
	if (d->name != NULL)
		TAILQ_REMOVE(&disks, d, link);
	mem_free(d->name);
	mem_free(d);
}

struct sim_disk_faults *sim_disk_faults(struct sim_disk *d)
{
	return &d->faults;
}

const char *sim_disk_name(const struct sim_disk *d)
{
	return d->name != NULL ? d->name : "(copy)";
}

struct sim_disk *sim_disk_find(const char *path)
{
	const size_t root = sizeof(SIM_DISK_ROOT) - 1;
	struct sim_disk *d;
	size_t len;

	if (strncmp(path, SIM_DISK_ROOT, root) != 0)
		return NULL;
	path += root;
	len = strcspn(path, "/");
	TAILQ_FOREACH(d, &disks, link)
		if (strlen(d->name) == len && memcmp(d->name, path, len) == 0)
			break;
	return d;
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
	return sim_disk__log_bytes(d) + sim_engine__bytes(d);
}

/* ---- time and failure ---- */

void sim_disk__wait(struct sim_disk *d, unsigned times)
{
	const struct sim_disk_faults *f = &d->faults;
	uint64_t ns;

	if (sim_thread_self() == NULL || sim_thread_is_main())
		return;
	ns = sim_between(f->sync_min_ns, f->sync_max_ns) * times;
	if (sim_now() < f->slow_until_ns)
		ns += f->slow_ns;
	if (f->slow_sync_ppm > 0 && sim_chance(f->slow_sync_ppm)) {
		ns += f->slow_sync_ns;
		sim_fault_note(SIM_FAULT_SLOW_SYNC);
	}
	if (ns > 0)
		sim_sleep(ns);
}

bool sim_disk__fails(struct sim_disk *d, const char *what)
{
	if (d->faults.fail_ppm == 0 || !sim_chance(d->faults.fail_ppm))
		return false;
	sim_fault_note(SIM_FAULT_SYNC_FAIL);
	sim_trace("disk %s: %s fails", sim_disk_name(d), what);
	return true;
}

/* ---- what is under way ---- */

struct sim_op *sim_disk__begin(struct sim_disk *d, enum sim_op_kind kind, const char *name,
			       uint64_t offset, const void *p, uint64_t len)
{
	struct sim_op *op = mem_must_alloc(sizeof(*op));

	CHECK(strlen(name) < sizeof(op->name));
	op->kind = kind;
	strcpy(op->name, name);
	op->offset = offset;
	op->len = len;
	if (kind != SIM_OP_CREATE)
		op->bytes = mem_must_dup(p, len);
	TAILQ_INSERT_TAIL(&d->ops, op, link);
	return op;
}

static void op_free(struct sim_disk *d, struct sim_op *op)
{
	TAILQ_REMOVE(&d->ops, op, link);
	mem_free(op->bytes);
	mem_free(op);
}

static void op_apply(struct sim_disk *d, const struct sim_op *op)
{
	struct sim_file *f;

	switch (op->kind) {
	case SIM_OP_WRITE:
		f = sim_disk__file(d, op->name);
		CHECK(f != NULL);
		sim_disk__write(d, f, op->offset, op->bytes, op->len);
		break;
	case SIM_OP_CREATE:
		sim_disk__file_add(d, op->name, op->len);
		break;
	case SIM_OP_SMALL:
		sim_datadir__put(d, op->name, op->bytes, op->len);
		break;
	}
}

void sim_disk__done(struct sim_disk *d, struct sim_op *op)
{
	op_apply(d, op);
	op_free(d, op);
}

static void op_tear(struct sim_disk *d, const struct sim_op *op)
{
	struct sim_file *f = sim_disk__file(d, op->name);

	CHECK(op->kind == SIM_OP_WRITE && f != NULL);
	if (!sim_disk__tear(d, f, op->offset, op->bytes, op->len))
		return;
	sim_fault_note(SIM_FAULT_TORN_WRITE);
	sim_trace("disk %s: %s torn at %" PRIu64 ", %" PRIu64 " bytes", sim_disk_name(d), op->name,
		  op->offset, op->len);
}

/* A create that fails leaves nothing; a small file, the old or the new one. */
void sim_disk__drop(struct sim_disk *d, struct sim_op *op)
{
	if (op->kind == SIM_OP_WRITE)
		op_tear(d, op);
	else if (op->kind == SIM_OP_SMALL && sim_below(2) == 0)
		op_apply(d, op);
	op_free(d, op);
}

void sim_disk_crash(struct sim_disk *d)
{
	struct sim_op *op;

	while ((op = TAILQ_FIRST(&d->ops)) != NULL) {
		if (op->kind == SIM_OP_WRITE && sim_chance(d->faults.torn_ppm))
			op_tear(d, op);
		else if (sim_below(2) == 0)
			op_apply(d, op);
		op_free(d, op);
	}
	d->locked = false;
	sim_engine__abandon(d);
	sim_engine__settle(d);
}

/* ---- copies ---- */

static void content_copy(struct sim_disk *to, const struct sim_disk *from)
{
	const struct sim_file *f;
	const struct sim_small *s;

	TAILQ_FOREACH(f, &from->files, link) {
		struct sim_file *copy = sim_disk__file_add(to, f->name, f->size);

		memcpy(copy->bytes, f->bytes, f->high);
		copy->high = f->high;
	}
	TAILQ_FOREACH(s, &from->smalls, link)
		sim_datadir__put(to, s->name, s->bytes, s->len);
	sim_engine__copy(to, from);
	to->block = from->block;
	to->made = from->made;
	to->made_log = from->made_log;
	to->made_engine = from->made_engine;
}

struct sim_disk *sim_disk_copy(const struct sim_disk *d)
{
	struct sim_disk *copy = disk_new(NULL);

	content_copy(copy, d);
	return copy;
}

static void tell_slots(struct sim_disk *d)
{
	const struct sim_group *g;

	if (sim_engine_watch == NULL || sim_engine_watch->reverted == NULL)
		return;
	TAILQ_FOREACH(g, &d->groups, link)
		sim_engine_watch->reverted(d, g->id, g->slot);
}

/* Groups that the copy has not are still told of: they are at slot 0 again. */
void sim_disk_restore(struct sim_disk *d, const struct sim_disk *copy)
{
	struct sim_disk *was = disk_new(NULL);
	const struct sim_group *g;

	CHECK(!d->locked && d->engine == NULL && TAILQ_EMPTY(&d->ops));
	TAILQ_FOREACH(g, &d->groups, link)
		(void)sim_engine__group(was, g->id);
	content_clear(d);
	content_copy(d, copy);
	TAILQ_FOREACH(g, &was->groups, link)
		(void)sim_engine__group(d, g->id);
	sim_disk_free(was);
	sim_trace("disk %s: rolled back to a copy", sim_disk_name(d));
	tell_slots(d);
}
