#include "tests/lib/wal_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"

#define LEN_MIN 8 /* of a payload: the number of its append */

static void on_synced(void *ctx)
{
	struct wal_fixture *f = ctx;

	if (f->cfg.inline_io) {
		wal_fixture_note_synced(f);
		return;
	}
	pthread_mutex_lock(&f->lock);
	pthread_cond_signal(&f->woken);
	pthread_mutex_unlock(&f->lock);
}

void wal_fixture_wait(struct wal_fixture *f, uint64_t number)
{
	if (!f->cfg.inline_io) {
		pthread_mutex_lock(&f->lock);
		while (wal_synced(f->wal) < number)
			pthread_cond_wait(&f->woken, &f->lock);
		pthread_mutex_unlock(&f->lock);
	}
	wal_fixture_note_synced(f);
}

void wal_fixture_init(struct wal_fixture *f, struct wal_device *device, uint64_t seed)
{
	*f = (struct wal_fixture){
		.cfg = {.device = device,
			.segment_size = 32 * 1024,
			.size_max = 1 << 20,
			.inline_io = true,
			.on_synced = on_synced,
			.ctx = f},
		.seed = seed,
	};
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->woken, NULL);
}

void wal_fixture_release(struct wal_fixture *f)
{
	wal_fixture_close(f);
	mem_free(f->appends);
	f->appends = NULL;
	pthread_cond_destroy(&f->woken);
	pthread_mutex_destroy(&f->lock);
}

uint64_t wal_fixture_random(struct wal_fixture *f, uint64_t below)
{
	return splitmix64(&f->seed) % below;
}

/* ---- payloads ---- */

static void payload_make(struct buf *b, size_t index, size_t len)
{
	uint8_t number[8];

	le64_put(number, index);
	buf_reset(b);
	buf_add(b, number, len < sizeof(number) ? len : sizeof(number));
	for (size_t i = b->len; i < len; i++)
		buf_add_u8(b, (uint8_t)(index * 7 + i));
}

/* The append that @r came from, or NULL. */
static struct wal_fixture_append *origin(struct wal_fixture *f, const struct wal_record *r)
{
	struct wal_fixture_append *a;
	struct buf want = BUF_INIT;
	uint64_t index;
	bool same;

	if (r->type == WAL_MARK) {
		for (size_t i = 0; i < f->count; i++) {
			a = &f->appends[i];
			if (a->r.type == WAL_MARK && a->r.group == r->group &&
			    a->r.slot == r->slot && r->payload.len == 0)
				return a;
		}
		return NULL;
	}
	if (r->payload.len < LEN_MIN)
		return NULL;
	index = le64_get(r->payload.p);
	if (index >= f->count)
		return NULL;
	a = &f->appends[index];
	payload_make(&want, index, a->r.payload.len);
	same = slice_eq(buf_slice(&want), r->payload) && a->r.type == r->type &&
	       a->r.group == r->group && a->r.ballot == r->ballot && a->r.slot == r->slot;
	buf_release(&want);
	return same ? a : NULL;
}

/* ---- open ---- */

static int on_replay(void *ctx, const struct wal_record *r)
{
	struct wal_fixture *f = ctx;
	struct wal_fixture_append *a = origin(f, r);

	if (a == NULL)
		f->wrong++;
	else
		a->seen = true;
	return 0;
}

int wal_fixture_open(struct wal_fixture *f)
{
	int err;

	for (size_t i = 0; i < f->count; i++)
		f->appends[i].seen = false;
	f->wrong = 0;
	f->run_first = f->count;
	f->msg.text[0] = '\0';
	err = wal_open(&f->cfg, on_replay, f, &f->wal, &f->msg);
	if (err != 0)
		f->wal = NULL;
	return err;
}

void wal_fixture_close(struct wal_fixture *f)
{
	wal_close(f->wal);
	f->wal = NULL;
}

/* ---- use ---- */

static size_t note(struct wal_fixture *f, const struct wal_record *r)
{
	if (f->count == f->cap) {
		f->cap = f->cap > 0 ? 2 * f->cap : 256;
		f->appends = mem_must_realloc(f->appends, f->cap * sizeof(*f->appends));
	}
	f->appends[f->count] = (struct wal_fixture_append){.r = *r};
	f->appends[f->count].r.payload.p = NULL;
	return f->count++;
}

uint64_t wal_fixture_append(struct wal_fixture *f, enum wal_type type, uint32_t group,
			    uint64_t ballot, uint64_t slot, size_t len)
{
	struct wal_record r = {.type = type, .group = group, .ballot = ballot, .slot = slot};
	struct buf b = BUF_INIT;
	size_t i;

	len = len < LEN_MIN ? LEN_MIN : len;
	payload_make(&b, f->count, len);
	r.payload = buf_slice(&b);
	i = note(f, &r);
	f->appends[i].number = wal_append(f->wal, &r);
	for (size_t k = i; k > f->run_first && f->appends[k - 1].number == UINT64_MAX; k--)
		f->appends[k - 1].number = f->appends[i].number;
	buf_release(&b);
	return f->appends[i].number;
}

void wal_fixture_truncate(struct wal_fixture *f, uint32_t group, uint64_t slot)
{
	size_t i = note(f, &(struct wal_record){.type = WAL_MARK, .group = group, .slot = slot});

	/* Which batch the mark is in is not told; that of the next append is at least as high. */
	f->appends[i].number = UINT64_MAX;
	wal_truncate(f->wal, group, slot);
}

void wal_fixture_note_synced(struct wal_fixture *f)
{
	uint64_t synced;

	if (f->wal == NULL)
		return;
	synced = wal_synced(f->wal); /* before the power is looked at: it may go meanwhile */
	if (f->power_is_off != NULL && f->power_is_off(f->ctx))
		return;
	for (size_t i = f->count; i > f->run_first; i--) {
		struct wal_fixture_append *a = &f->appends[i - 1];

		if (a->number <= synced)
			a->synced = true;
	}
}

static void append_some(struct wal_fixture *f, uint32_t g)
{
	uint64_t n = 1 + wal_fixture_random(f, 4);

	while (n-- > 0) {
		uint64_t at = ++f->slot[g];

		if (wal_fixture_random(f, 10) == 0 && at > f->mark[g] + 2)
			at -= 1 + wal_fixture_random(f, 2); /* again, by another leader */
		wal_fixture_append(f, WAL_ENTRY, g, f->ballot[g], at,
				   wal_fixture_random(f, 3) == 0 ? wal_fixture_random(f, 1900)
								 : wal_fixture_random(f, 200));
	}
}

/* Nothing is needed any more: every segment but the last may be reused. */
static void truncate_all(struct wal_fixture *f)
{
	for (uint32_t g = 0; g < WAL_FIXTURE_GROUPS; g++) {
		if (f->slot[g] >= f->mark[g]) {
			f->mark[g] = f->slot[g] + 1;
			wal_fixture_truncate(f, g, f->mark[g]);
		}
	}
}

void wal_fixture_step(struct wal_fixture *f)
{
	uint32_t g = (uint32_t)wal_fixture_random(f, WAL_FIXTURE_GROUPS);
	uint64_t what = wal_fixture_random(f, 20);

	if (what < 9) {
		append_some(f, g);
	} else if (what == 9) {
		f->ballot[g] += 1 + wal_fixture_random(f, 3);
		wal_fixture_append(f, WAL_PROMISE, g, f->ballot[g], 0, wal_fixture_random(f, 60));
	} else if (what == 10 && wal_fixture_random(f, 4) == 0) {
		truncate_all(f);
	} else if (what < 13) {
		/* Group 0 lags behind. */
		if ((g != 0 || what == 10) && f->slot[g] > f->mark[g] + 3) {
			f->mark[g] += (f->slot[g] - f->mark[g]) / (g == 0 ? 8 : 2);
			wal_fixture_truncate(f, g, f->mark[g]);
		}
	} else {
		wal_submit(f->wal);
	}
}

/* ---- verify ---- */

struct group_view {
	bool has_promise, wants_promise;
	uint64_t promise, want_promise;
	uint64_t mark, want_mark;
};

static void group_look(const struct wal_fixture *f, uint32_t g, struct group_view *v)
{
	*v = (struct group_view){0};
	for (size_t i = 0; i < f->count; i++) {
		const struct wal_fixture_append *a = &f->appends[i];

		if (a->r.group != g)
			continue;
		if (a->r.type == WAL_PROMISE && a->seen) {
			v->has_promise = true;
			v->promise = a->r.ballot > v->promise ? a->r.ballot : v->promise;
		}
		if (a->r.type == WAL_PROMISE && a->synced) {
			v->wants_promise = true;
			if (a->r.ballot > v->want_promise)
				v->want_promise = a->r.ballot;
		}
		if (a->r.type == WAL_MARK && a->seen && a->r.slot > v->mark)
			v->mark = a->r.slot;
		if (a->r.type == WAL_MARK && a->synced && a->r.slot > v->want_mark)
			v->want_mark = a->r.slot;
	}
}

/* The best entry of the slot that was seen is at least as good as the best that was synced. */
static bool slot_holds(const struct wal_fixture *f, const struct wal_fixture_append *want)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct wal_fixture_append *a = &f->appends[i];

		if (a->seen && a->r.type == WAL_ENTRY && a->r.group == want->r.group &&
		    a->r.slot == want->r.slot && a->r.ballot >= want->r.ballot)
			return true;
	}
	return false;
}

static bool reads_back(struct wal_fixture *f, const struct wal_fixture_append *a)
{
	struct wal_record r = {.type = WAL_ENTRY, .group = a->r.group, .slot = a->r.slot};
	struct buf b = BUF_INIT;
	bool ok = wal_read(f->wal, r.group, r.slot, &r.ballot, &b) == 0;

	r.payload = buf_slice(&b);
	ok = ok && r.ballot >= a->r.ballot && origin(f, &r) != NULL;
	buf_release(&b);
	return ok;
}

static const char *entry_verify(struct wal_fixture *f, const struct wal_fixture_append *a,
				const struct group_view *v)
{
	if (a->r.type != WAL_ENTRY)
		return NULL;
	if (a->seen && a->r.slot < v->mark)
		return "an entry below the mark came back";
	if (a->synced && a->r.slot >= v->mark && !slot_holds(f, a))
		return "a synced entry is lost";
	if (a->seen && !reads_back(f, a))
		return "an entry that was replayed cannot be read";
	return NULL;
}

const char *wal_fixture_verify(struct wal_fixture *f)
{
	struct group_view v[WAL_FIXTURE_GROUPS];
	const char *wrong = NULL;

	if (f->wrong > 0)
		return "a record came back that was never appended";
	for (uint32_t g = 0; g < WAL_FIXTURE_GROUPS; g++) {
		group_look(f, g, &v[g]);
		if (v[g].wants_promise && (!v[g].has_promise || v[g].promise < v[g].want_promise))
			return "a synced promise is lost";
		if (v[g].mark < v[g].want_mark)
			return "a synced mark is lost";
	}
	for (size_t i = 0; i < f->count && wrong == NULL; i++)
		wrong = entry_verify(f, &f->appends[i], &v[f->appends[i].r.group]);
	for (size_t i = 0; i < f->count; i++)
		f->appends[i].synced = f->appends[i].synced || f->appends[i].seen;
	return wrong;
}
