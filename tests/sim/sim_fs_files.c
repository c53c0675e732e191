/* Small files as registers, by path and through handles, for the checker of linearizability; and files
 * that records are appended to. */
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/check/linear.h"
#include "tests/sim/sim_fs_internal.h"

#define KEPT	    (FSIM_REGISTERS / 2) /* the first ones are never deleted, and used through handles */
#define RECORD	    16u			 /* worker, number */
#define RECORDS_MAX 600u		 /* of a log; then it is only read */
#define READS_MAX   400u

struct record {
	uint64_t worker, number;
	uint64_t invoke_ns, return_ns; /* FSIM_NEVER: its fate is open */
	uint64_t end;		       /* where it ended, says the call */
	bool failed;
};

struct log_read {
	uint64_t invoke_ns, return_ns;
	struct slice bytes; /* owned */
};

static struct log {
	uint64_t ino;
	struct record *records;
	uint32_t record_count;
	struct log_read reads[READS_MAX];
	uint32_t read_count;
	struct slice last; /* owned */
} logs[FSIM_LOGS];

static struct history history;
static uint64_t last_value;
static uint64_t inos[FSIM_REGISTERS];

static struct slice path_of(const char *dir, uint64_t n, char out[16])
{
	return slice_of(out, (size_t)snprintf(out, 16, "%s/%llu", dir, (unsigned long long)n));
}

void fsim__files_init(void)
{
	history_init(&history);
	for (uint32_t i = 0; i < FSIM_LOGS; i++)
		logs[i].records = mem_must_alloc(RECORDS_MAX * sizeof(struct record));
}

/* ---- registers ---- */

static size_t begin(struct fsim_worker *w, const struct history_op *op)
{
	struct history_op o = *op;

	o.client = w->id;
	fsim__other_begin(w);
	return history_invoke(&history, sim_now(), &o);
}

static void end(struct fsim_worker *w, size_t id, int err, uint64_t value)
{
	enum history_kind kind = history.ops[id].kind;
	enum history_outcome o = err == 0 ? HISTORY_OK : HISTORY_FAILED;

	if (fsim__is_outage(err) && kind != HISTORY_READ && err != ERR_NOSPACE && err != ERR_BUSY &&
	    err != ERR_ABORTED && err != ERR_DEADLOCK)
		o = HISTORY_UNKNOWN;
	history_return(&history, id, sim_now(), o, &(struct history_result){.value = value});
	fsim__other_end(w, err);
	if (err && !fsim__is_outage(err))
		sim_violation("register %llu: %s", (unsigned long long)history.ops[id].key,
			      err_text(err));
}

static uint64_t value_of(const struct buf *b)
{
	if (b->len != 8)
		sim_violation("a register holds %zu bytes", b->len);
	return le64_get(b->data);
}

static void get(struct fsim_worker *w, uint64_t n)
{
	char path[16];
	struct slice p = path_of("reg", n, path);
	struct buf b = BUF_INIT;
	size_t id = begin(w, &(struct history_op){.kind = HISTORY_READ, .key = n});
	int err = fs_kv_get(w->m->fs, p, &b, NULL);
	uint64_t v = err ? HISTORY_ABSENT : value_of(&b);

	end(w, id, err == ERR_NOT_FOUND ? 0 : err, v);
	buf_release(&b);
}

static void put(struct fsim_worker *w, uint64_t n)
{
	struct history_op op = {.kind = HISTORY_WRITE, .key = n, .arg = ++last_value};
	uint8_t value[8];
	char path[16];
	struct slice p = path_of("reg", n, path);
	size_t id = begin(w, &op);

	le64_put(value, op.arg);
	end(w, id, fs_kv_put(w->m->fs, &fsim_cred, p, slice_of(value, 8), false), 0);
}

static void swap_value(struct fsim_worker *w, uint64_t n)
{
	uint64_t back = 1 + sim_below(8);
	struct history_op op = {.kind = HISTORY_CAS,
				.key = n,
				.arg = last_value > back ? last_value - back : 1,
				.arg2 = ++last_value};
	uint8_t was[8], value[8];
	char path[16];
	struct slice p = path_of("reg", n, path);
	struct buf b = BUF_INIT;
	size_t id = begin(w, &op);
	int err;

	le64_put(was, op.arg);
	le64_put(value, op.arg2);
	err = fs_kv_cas(w->m->fs, &fsim_cred, p, false, slice_of(was, 8), slice_of(value, 8), &b);
	if (err == ERR_CONDITION || err == ERR_NOT_FOUND)
		end(w, id, 0, 0);
	else
		end(w, id, err, 1);
	buf_release(&b);
}

static void del(struct fsim_worker *w, uint64_t n)
{
	char path[16];
	struct slice p = path_of("reg", n, path);
	size_t id = begin(w, &(struct history_op){.kind = HISTORY_DELETE, .key = n});
	int err = fs_kv_del(w->m->fs, p);

	end(w, id, err == ERR_NOT_FOUND ? 0 : err, err == 0);
}

/* All of it through a handle: those files are always there, and always eight bytes long. */
static void by_handle(struct fsim_worker *w, uint64_t n, bool write)
{
	struct history_op op = {.kind = write ? HISTORY_WRITE : HISTORY_READ,
				.key = n,
				.arg = write ? ++last_value : 0};
	struct buf b = BUF_INIT;
	struct fs_file *f;
	uint8_t value[8];
	uint64_t v = 0;
	size_t id;
	int err;

	if (!inos[n] || fs_file_open(w->m->fs, inos[n], FS_O_READ | FS_O_WRITE, &f) != 0)
		return;
	id = begin(w, &op);
	le64_put(value, op.arg);
	err = write ? fs_write(f, 0, slice_of(value, 8), NULL) : fs_read(f, 0, 4096, &b);
	if (!err && !write)
		v = value_of(&b);
	end(w, id, err, v);
	fs_file_close(f);
	buf_release(&b);
}

static void call_register(struct fsim_worker *w)
{
	uint64_t n = sim_below(fsim_cfg.registers);

	switch (sim_below(8)) {
	case 0:
		put(w, n);
		break;
	case 1:
		swap_value(w, n);
		break;
	case 2:
		if (n < KEPT)
			by_handle(w, n, true);
		else
			del(w, n);
		break;
	case 3:
	case 4:
		if (n < KEPT)
			by_handle(w, n, sim_chance(300000));
		else
			get(w, n);
		break;
	default:
		get(w, n);
	}
}

/* ---- logs ---- */

static void append(struct fsim_worker *w, struct log *l)
{
	uint8_t bytes[RECORD];
	struct fs_file *f;
	struct record *r;
	int err;

	if (l->record_count == RECORDS_MAX ||
	    fs_file_open(w->m->fs, l->ino, FS_O_WRITE | FS_O_APPEND, &f) != 0)
		return;
	r = &l->records[l->record_count++];
	*r = (struct record){.worker = w->id,
			     .number = ++w->records,
			     .invoke_ns = sim_now(),
			     .return_ns = FSIM_NEVER};
	le64_put(bytes, r->worker);
	le64_put(bytes + 8, r->number);
	fsim__other_begin(w);
	err = fs_write(f, 0, slice_of(bytes, RECORD), &r->end);
	fsim__other_end(w, err);
	if (!err)
		r->return_ns = sim_now();
	r->failed = err == ERR_NOSPACE || err == ERR_BUSY || err == ERR_ABORTED || err == ERR_DEADLOCK;
	if (err && !fsim__is_outage(err))
		sim_violation("appending: %s", err_text(err));
	fs_file_close(f);
}

static void read_log(struct fsim_worker *w, struct log *l)
{
	struct log_read r = {.invoke_ns = sim_now()};
	struct buf b = BUF_INIT;
	struct fs_file *f;
	int err;

	if (l->read_count == READS_MAX || fs_file_open(w->m->fs, l->ino, FS_O_READ, &f) != 0)
		return;
	fsim__other_begin(w);
	err = fs_read(f, 0, FSIM_READ_MAX, &b);
	fsim__other_end(w, err);
	fs_file_close(f);
	if (err && !fsim__is_outage(err))
		sim_violation("reading a log: %s", err_text(err));
	if (!err && l->read_count < READS_MAX) {
		r.return_ns = sim_now();
		r.bytes = slice_of(mem_must_dup(b.data, b.len), b.len);
		l->reads[l->read_count++] = r;
	}
	buf_release(&b);
}

void fsim__files_call(struct fsim_worker *w)
{
	struct log *l = &logs[sim_below(fsim_cfg.logs)];

	if (sim_chance(500000))
		call_register(w);
	else if (sim_chance(700000))
		append(w, l);
	else
		read_log(w, l);
}

/* ---- beginning and end ---- */

int fsim__files_make(struct fsim_worker *w)
{
	char path[16];
	struct fs_attr a;
	int err = 0;

	for (uint32_t i = 0; i < KEPT && !err; i++) {
		put(w, i);
		err = fs_path_lookup(w->m->fs, path_of("reg", i, path), false, &a);
		inos[i] = err ? 0 : a.ino;
	}
	for (uint32_t i = 0; i < FSIM_LOGS && !err; i++) {
		err = fs_kv_put(w->m->fs, &fsim_cred, path_of("log", i, path), (struct slice){0}, false);
		if (!err)
			err = fs_path_lookup(w->m->fs, path_of("log", i, path), false, &a);
		logs[i].ino = err ? 0 : a.ino;
	}
	return err;
}

int fsim__files_read(struct fs *fs)
{
	struct fsim_mount m = {.fs = fs};
	struct fsim_worker w = {.m = &m, .id = UINT32_MAX};
	char path[16];
	int err = 0;

	for (uint64_t i = 0; i < FSIM_REGISTERS; i++)
		get(&w, i);
	for (uint32_t i = 0; i < FSIM_LOGS && !err; i++) {
		struct buf b = BUF_INIT;

		err = fs_kv_get(fs, path_of("log", i, path), &b, NULL);
		if (!err)
			logs[i].last = slice_of(mem_must_dup(b.data, b.len), b.len);
		buf_release(&b);
	}
	return err;
}

/* ---- judging logs ---- */

static const struct record *record_at(const struct log *l, uint64_t at)
{
	uint64_t worker = le64_get(l->last.p + at), number = le64_get(l->last.p + at + 8);

	for (uint32_t i = 0; i < l->record_count; i++)
		if (l->records[i].worker == worker && l->records[i].number == number)
			return &l->records[i];
	sim_violation("a log holds a record that nobody appended: %llu of worker %llu",
		      (unsigned long long)number, (unsigned long long)worker);
}

static bool is_in(const struct slice bytes, const struct record *r)
{
	for (size_t at = 0; at + RECORD <= bytes.len; at += RECORD)
		if (le64_get(bytes.p + at) == r->worker && le64_get(bytes.p + at + 8) == r->number)
			return true;
	return false;
}

/* Once, where the call said, and not before one that was there when it began. */
static void judge_records(const struct log *l)
{
	uint64_t latest_invoke = 0;

	if (l->last.len % RECORD != 0)
		sim_violation("a log of records of %u bytes has %zu bytes", RECORD, l->last.len);
	for (uint64_t at = 0; at < l->last.len; at += RECORD) {
		const struct record *r = record_at(l, at);

		if (r->failed)
			sim_violation("a record is there, though its append failed");
		if (r->return_ns != FSIM_NEVER && r->end != at + RECORD)
			sim_violation("record %llu of worker %llu ends at %llu, the call said %llu",
				      (unsigned long long)r->number, (unsigned long long)r->worker,
				      (unsigned long long)(at + RECORD), (unsigned long long)r->end);
		for (uint64_t b = 0; b < at; b += RECORD)
			if (record_at(l, b) == r)
				sim_violation("record %llu of worker %llu is there twice",
					      (unsigned long long)r->number,
					      (unsigned long long)r->worker);
		if (r->return_ns < latest_invoke)
			sim_violation("records are out of order");
		if (r->invoke_ns > latest_invoke)
			latest_invoke = r->invoke_ns;
	}
	for (uint32_t i = 0; i < l->record_count; i++)
		if (l->records[i].return_ns != FSIM_NEVER && !is_in(l->last, &l->records[i]))
			sim_violation("record %llu of worker %llu is lost",
				      (unsigned long long)l->records[i].number,
				      (unsigned long long)l->records[i].worker);
}

static void judge_read(const struct log *l, const struct log_read *r)
{
	if (r->bytes.len > l->last.len || r->bytes.len % RECORD != 0 ||
	    memcmp(r->bytes.p, l->last.p, r->bytes.len) != 0)
		sim_violation("a log was read that is no beginning of what it became");
	for (size_t at = 0; at < r->bytes.len; at += RECORD)
		if (record_at(l, at)->invoke_ns > r->return_ns)
			sim_violation("a record was read before it was written");
	for (uint32_t i = 0; i < l->record_count; i++)
		if (l->records[i].return_ns < r->invoke_ns && !is_in(r->bytes, &l->records[i]))
			sim_violation("a record was written, and not read later");
}

uint64_t fsim__files_judge(void)
{
	static struct verdict v;
	uint64_t n = 0;

	linear_check(&history, NULL, &v);
	if (v.code == VERDICT_WRONG || v.code == VERDICT_UNFIT)
		sim_violation("files as registers: %s\n%s", v.name, v.text);
	if (v.code == VERDICT_GAVE_UP)
		sim_trace("files as registers: not judged in full: %s", v.text);
	for (uint32_t i = 0; i < FSIM_LOGS; i++) {
		judge_records(&logs[i]);
		for (uint32_t k = 0; k < logs[i].read_count; k++)
			judge_read(&logs[i], &logs[i].reads[k]);
		n += logs[i].record_count + logs[i].read_count;
	}
	return v.checked + n;
}
