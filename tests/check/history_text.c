/* The text form of histories: README.md has the grammar. */
#include "tests/check/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define HEADER "paxfs-history 1"

static const char *const kind_names[HISTORY_KINDS] = {
	[HISTORY_READ] = "read",     [HISTORY_WRITE] = "write",	    [HISTORY_CAS] = "cas",
	[HISTORY_DELETE] = "delete", [HISTORY_TXN] = "txn",	    [HISTORY_ADD] = "add",
	[HISTORY_GET] = "get",	     [HISTORY_INSERT] = "insert",   [HISTORY_MEMBERS] = "members",
	[HISTORY_BALANCES] = "balances",
};

static const char *const outcome_names[] = {
	[HISTORY_OK] = "ok", [HISTORY_FAILED] = "failed", [HISTORY_UNKNOWN] = "unknown"};

/* ---- writing ---- */

/* A register's value, with the blank before it. */
static void put_value(FILE *f, uint64_t value)
{
	if (value == HISTORY_ABSENT)
		fputs(" -", f);
	else
		fprintf(f, " %" PRIu64, value);
}

static void put_list(FILE *f, const uint64_t *list, size_t count, bool is_signed)
{
	fputs(" [", f);
	for (size_t i = 0; i < count; i++)
		if (is_signed)
			fprintf(f, "%s%" PRId64, i > 0 ? "," : "", (int64_t)list[i]);
		else
			fprintf(f, "%s%" PRIu64, i > 0 ? "," : "", list[i]);
	fputc(']', f);
}

static void put_mops(FILE *f, const struct history_mop *mops, size_t count, bool with_lists)
{
	for (size_t i = 0; i < count; i++) {
		if (mops[i].append) {
			fprintf(f, " a %" PRIu64 " %" PRIu64, mops[i].key, mops[i].value);
			continue;
		}
		fprintf(f, " r %" PRIu64, mops[i].key);
		if (with_lists)
			put_list(f, mops[i].list, mops[i].count, false);
	}
}

static void put_args(FILE *f, const struct history_op *op)
{
	fputs(kind_names[op->kind], f);
	if (op->kind != HISTORY_TXN && op->kind != HISTORY_BALANCES)
		fprintf(f, " %" PRIu64, op->key);
	switch (op->kind) {
	case HISTORY_WRITE:
	case HISTORY_ADD:
	case HISTORY_INSERT:
		fprintf(f, " %" PRIu64, op->arg);
		break;
	case HISTORY_CAS:
		put_value(f, op->arg);
		put_value(f, op->arg2);
		break;
	case HISTORY_TXN:
		put_mops(f, op->mops, op->mop_count, false);
		break;
	default:
		break;
	}
}

static void put_result(FILE *f, enum history_kind kind, const struct history_result *res)
{
	switch (kind) {
	case HISTORY_READ:
		put_value(f, res->value);
		break;
	case HISTORY_CAS:
	case HISTORY_GET:
		fprintf(f, " %" PRIu64, res->value);
		break;
	case HISTORY_DELETE:
		if (res->value != HISTORY_UNTOLD)
			fprintf(f, " %" PRIu64, res->value);
		break;
	case HISTORY_TXN:
		put_mops(f, res->mops, res->mop_count, true);
		break;
	case HISTORY_MEMBERS:
	case HISTORY_BALANCES:
		put_list(f, res->list, res->list_count, kind == HISTORY_BALANCES);
		break;
	default:
		break;
	}
}

static int written(FILE *f)
{
	return fflush(f) == 0 && !ferror(f) ? 0 : ERR_IO;
}

static void put_invoke(FILE *f, uint64_t id, uint64_t now, const struct history_op *op)
{
	fprintf(f, "i %" PRIu64 " %" PRIu32 " %" PRIu64 " ", id, op->client, now);
	put_args(f, op);
	fputc('\n', f);
}

static void put_return(FILE *f, uint64_t id, uint64_t now, enum history_kind kind,
		       enum history_outcome outcome, const struct history_result *res)
{
	fprintf(f, "r %" PRIu64 " %" PRIu64 " %s", id, now, outcome_names[outcome]);
	if (outcome == HISTORY_OK && res != NULL)
		put_result(f, kind, res);
	fputc('\n', f);
}

static void put_bank(FILE *f, uint64_t accounts, int64_t total, bool negative_ok)
{
	fprintf(f, "bank %" PRIu64 " %" PRId64 " %d\n", accounts, total, negative_ok);
}

int history_stream_open(struct history_stream *s, FILE *f)
{
	*s = (struct history_stream){.f = f};
	fputs(HEADER "\n", f);
	return written(f);
}

int history_stream_bank(struct history_stream *s, uint64_t accounts, int64_t total,
			bool negative_ok)
{
	put_bank(s->f, accounts, total, negative_ok);
	return written(s->f);
}

int history_stream_invoke(struct history_stream *s, uint64_t now, const struct history_op *op,
			  uint64_t *id)
{
	put_invoke(s->f, s->next_id, now, op);
	*id = s->next_id++;
	return written(s->f);
}

int history_stream_return(struct history_stream *s, uint64_t id, uint64_t now,
			  enum history_kind kind, enum history_outcome outcome,
			  const struct history_result *res)
{
	put_return(s->f, id, now, kind, outcome, res);
	return written(s->f);
}

int history_write(const struct history *h, FILE *f)
{
	fputs(HEADER "\n", f);
	if (h->has_bank)
		put_bank(f, h->bank_accounts, h->bank_total, h->bank_negative_ok);
	for (size_t i = 0; i < h->count; i++) {
		const struct history_op *op = &h->ops[i];
		struct history_result res = {op->result, op->list, op->list_count, op->mops,
					     op->mop_count};

		put_invoke(f, i, op->invoke_ns, op);
		if (op->return_ns != HISTORY_NEVER)
			put_return(f, i, op->return_ns, op->kind, op->outcome, &res);
	}
	return written(f);
}

/* ---- for people ---- */

#define SHOWN_FIRST 4 /* elements of a long list */
#define SHOWN_LAST  12

static void show_list(FILE *f, const uint64_t *list, size_t count, bool is_signed)
{
	if (count <= SHOWN_FIRST + SHOWN_LAST) {
		put_list(f, list, count, is_signed);
		return;
	}
	put_list(f, list, SHOWN_FIRST, is_signed);
	fprintf(f, "..%zu..", count - SHOWN_FIRST - SHOWN_LAST);
	put_list(f, list + count - SHOWN_LAST, SHOWN_LAST, is_signed);
}

static void show_result(FILE *f, const struct history_op *op)
{
	struct history_result res = {.value = op->result};

	if (op->kind == HISTORY_MEMBERS || op->kind == HISTORY_BALANCES) {
		show_list(f, op->list, op->list_count, op->kind == HISTORY_BALANCES);
		return;
	}
	put_result(f, op->kind, &res);
}

/* A transaction that returned: its steps with what they read. */
static void show_mops(FILE *f, const struct history_op *op)
{
	fputs("txn", f);
	for (size_t i = 0; i < op->mop_count; i++) {
		put_mops(f, &op->mops[i], 1, false);
		if (!op->mops[i].append)
			show_list(f, op->mops[i].list, op->mops[i].count, false);
	}
}

const char *history_op_text(const struct history_op *op, char *text, size_t size)
{
	FILE *f = fmemopen(text, size, "w");

	text[0] = '\0';
	if (f == NULL)
		return text;
	fprintf(f, "client %" PRIu32 " [%" PRIu64 ", ", op->client, op->invoke_ns);
	if (op->return_ns == HISTORY_NEVER)
		fputs("never] ", f);
	else
		fprintf(f, "%" PRIu64 "] ", op->return_ns);
	if (op->kind == HISTORY_TXN && op->outcome == HISTORY_OK) {
		show_mops(f, op);
	} else {
		put_args(f, op);
		fprintf(f, " -> %s", outcome_names[op->outcome]);
		if (op->outcome == HISTORY_OK)
			show_result(f, op);
	}
	fclose(f); /* adds the NUL, or leaves it off when the text is cut */
	text[size - 1] = '\0';
	return text;
}

/* ---- reading ---- */

struct reader {
	struct history *h;
	const char *p; /* what is left of the line */
	unsigned long line;
	size_t *index; /* of operations in h, by id in the file */
	size_t count, cap;
	uint64_t *list; /* lists of the line */
	size_t list_count, list_cap;
	struct history_mop *mops;
	size_t mop_count, mop_cap;
	struct msg *m;
};

static int bad(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int bad(struct reader *r, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return msg_set(r->m, ERR_PROTO, "line %lu: %s", r->line, text);
}

static bool skip(struct reader *r, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(r->p, text, n) != 0)
		return false;
	r->p += n;
	return true;
}

/* Decimal digits only: no sign, no blanks, no overflow. */
static bool get_digits(struct reader *r, uint64_t *out)
{
	uint64_t n = 0;

	if (*r->p < '0' || *r->p > '9')
		return false;
	for (; *r->p >= '0' && *r->p <= '9'; r->p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*r->p - '0'), &n))
			return false;
	*out = n;
	return true;
}

static bool get_signed(struct reader *r, uint64_t *out)
{
	bool minus = skip(r, "-");
	uint64_t n;

	if (!get_digits(r, &n) || n > (uint64_t)INT64_MAX + minus)
		return false;
	*out = minus ? 0 - n : n;
	return true;
}

/* A blank and a number. */
static int get_number(struct reader *r, const char *what, uint64_t *out)
{
	return skip(r, " ") && get_digits(r, out) ? 0 : bad(r, "%s: a number is expected", what);
}

static int get_value(struct reader *r, const char *what, uint64_t *out)
{
	if (skip(r, " -")) {
		*out = HISTORY_ABSENT;
		return 0;
	}
	if (get_number(r, what, out) < 0)
		return ERR_PROTO;
	return *out != HISTORY_ABSENT ? 0 : bad(r, "%s: too big", what);
}

/* A blank and [N,N,...], behind what is in r->list. */
static int get_list(struct reader *r, bool is_signed, size_t *count)
{
	size_t begin = r->list_count;

	if (!skip(r, " ["))
		return bad(r, "a list [N,N,...] is expected");
	while (*r->p != ']') {
		uint64_t n;

		if (r->list_count > begin && !skip(r, ","))
			return bad(r, "a comma or ] is expected in a list");
		if (!(is_signed ? get_signed(r, &n) : get_digits(r, &n)))
			return bad(r, "a number is expected in a list");
		if (r->list_count == r->list_cap) {
			r->list_cap = r->list_cap > 0 ? 2 * r->list_cap : 64;
			r->list = mem_must_realloc(r->list, r->list_cap * sizeof(*r->list));
		}
		r->list[r->list_count++] = n;
	}
	r->p++;
	*count = r->list_count - begin;
	return 0;
}

static int get_mop(struct reader *r, bool with_lists)
{
	struct history_mop mop = {.append = skip(r, " a")};
	int code;

	if (!mop.append && !skip(r, " r"))
		return bad(r, "a step is `a KEY VALUE` or `r KEY`");
	code = get_number(r, "key", &mop.key);
	if (code == 0 && mop.append)
		code = get_number(r, "value", &mop.value);
	else if (code == 0 && with_lists)
		code = get_list(r, false, &mop.count);
	if (code < 0)
		return code;
	if (r->mop_count == r->mop_cap) {
		r->mop_cap = r->mop_cap > 0 ? 2 * r->mop_cap : 16;
		r->mops = mem_must_realloc(r->mops, r->mop_cap * sizeof(*r->mops));
	}
	r->mops[r->mop_count++] = mop;
	return 0;
}

static int get_mops(struct reader *r, bool with_lists)
{
	size_t at = 0;

	while (*r->p != '\0')
		if (get_mop(r, with_lists) < 0)
			return ERR_PROTO;
	for (size_t i = 0; i < r->mop_count; i++) { /* now that r->list stands still */
		r->mops[i].list = r->list + at;
		at += r->mops[i].count;
	}
	return 0;
}

static int get_kind(struct reader *r, enum history_kind *out)
{
	size_t n = strcspn(r->p, " ");

	for (unsigned k = 0; k < HISTORY_KINDS; k++) {
		if (strlen(kind_names[k]) == n && strncmp(r->p, kind_names[k], n) == 0) {
			r->p += n;
			*out = (enum history_kind)k;
			return 0;
		}
	}
	return bad(r, "no such operation: %.*s", n < 40 ? (int)n : 40, r->p);
}

static int get_args(struct reader *r, struct history_op *op)
{
	int code = 0;

	if (op->kind == HISTORY_TXN)
		return get_mops(r, false);
	if (op->kind == HISTORY_BALANCES)
		return 0;
	code = get_number(r, "key", &op->key);
	if (code < 0)
		return code;
	switch (op->kind) {
	case HISTORY_WRITE:
		return skip(r, " -") ? bad(r, "use delete to make a key absent")
				     : get_value(r, "value", &op->arg);
	case HISTORY_ADD:
	case HISTORY_INSERT:
		return get_number(r, "value", &op->arg);
	case HISTORY_CAS:
		code = get_value(r, "old value", &op->arg);
		return code < 0 ? code : get_value(r, "new value", &op->arg2);
	default:
		return 0;
	}
}

static int get_flag(struct reader *r, uint64_t *out)
{
	int code = get_number(r, "result", out);

	return code < 0 || *out <= 1 ? code : bad(r, "the result is 0 or 1");
}

static int get_result(struct reader *r, const struct history_op *op, struct history_result *res)
{
	switch (op->kind) {
	case HISTORY_READ:
		return get_value(r, "result", &res->value);
	case HISTORY_GET:
		return get_number(r, "result", &res->value);
	case HISTORY_CAS:
		return get_flag(r, &res->value);
	case HISTORY_DELETE:
		res->value = HISTORY_UNTOLD;
		return *r->p != '\0' ? get_flag(r, &res->value) : 0;
	case HISTORY_MEMBERS:
	case HISTORY_BALANCES:
		return get_list(r, op->kind == HISTORY_BALANCES, &res->list_count);
	case HISTORY_TXN:
		for (size_t i = 0; *r->p == '\0' && i < op->mop_count; i++)
			if (!op->mops[i].append)
				return bad(r, "a transaction that reads has to tell what");
		return get_mops(r, true);
	default:
		return 0;
	}
}

static int get_invoke(struct reader *r)
{
	struct history_op op = {0};
	uint64_t id, client, now;

	if (get_number(r, "id", &id) < 0 || get_number(r, "client", &client) < 0 ||
	    get_number(r, "time", &now) < 0)
		return ERR_PROTO;
	if (id != r->count)
		return bad(r, "id %" PRIu64 ": the next one is %zu", id, r->count);
	if (client > UINT32_MAX || now == HISTORY_NEVER)
		return bad(r, "client or time is too big");
	op.client = (uint32_t)client;
	if (!skip(r, " "))
		return bad(r, "an operation is expected");
	if (get_kind(r, &op.kind) < 0 || get_args(r, &op) < 0)
		return ERR_PROTO;
	if (*r->p != '\0')
		return bad(r, "too much: %.40s", r->p);
	op.mops = r->mops;
	op.mop_count = r->mop_count;
	if (r->count == r->cap) {
		r->cap = r->cap > 0 ? 2 * r->cap : 64;
		r->index = mem_must_realloc(r->index, r->cap * sizeof(*r->index));
	}
	r->index[r->count++] = history_invoke(r->h, now, &op);
	return 0;
}

static int get_outcome(struct reader *r, enum history_outcome *out)
{
	for (unsigned k = 0; k <= HISTORY_UNKNOWN; k++) {
		size_t n = strlen(outcome_names[k]);

		if (strncmp(r->p, outcome_names[k], n) == 0 && (r->p[n] == '\0' || r->p[n] == ' ')) {
			r->p += n;
			*out = (enum history_outcome)k;
			return 0;
		}
	}
	return bad(r, "an outcome is ok, failed or unknown");
}

static int get_return(struct reader *r)
{
	struct history_result res = {0};
	const struct history_op *op;
	enum history_outcome outcome = HISTORY_UNKNOWN;
	uint64_t id, now;

	if (get_number(r, "id", &id) < 0 || get_number(r, "time", &now) < 0)
		return ERR_PROTO;
	if (id >= r->count)
		return bad(r, "id %" PRIu64 " was never called", id);
	op = &r->h->ops[r->index[id]];
	if (op->return_ns != HISTORY_NEVER)
		return bad(r, "id %" PRIu64 " returned before", id);
	if (now < op->invoke_ns || now == HISTORY_NEVER)
		return bad(r, "it returns before it was called");
	if (!skip(r, " ") || get_outcome(r, &outcome) < 0)
		return bad(r, "an outcome is ok, failed or unknown");
	if (outcome == HISTORY_OK && get_result(r, op, &res) < 0)
		return ERR_PROTO;
	if (*r->p != '\0')
		return bad(r, "too much: %.40s", r->p);
	res.list = r->list;
	res.mops = r->mop_count > 0 ? r->mops : NULL;
	res.mop_count = r->mop_count;
	history_return(r->h, r->index[id], now, outcome, &res);
	return 0;
}

static int get_bank(struct reader *r)
{
	uint64_t accounts, total, negative_ok;
	bool same;

	if (get_number(r, "accounts", &accounts) < 0)
		return ERR_PROTO;
	if (!skip(r, " ") || !get_signed(r, &total))
		return bad(r, "total: a number is expected");
	if (get_flag(r, &negative_ok) < 0)
		return ERR_PROTO;
	if (*r->p != '\0')
		return bad(r, "too much: %.40s", r->p);
	same = r->h->bank_accounts == accounts && r->h->bank_total == (int64_t)total &&
	       r->h->bank_negative_ok == (negative_ok == 1);
	if (r->h->has_bank && !same)
		return bad(r, "another bank than before");
	history_bank(r->h, accounts, (int64_t)total, negative_ok == 1);
	return 0;
}

static int get_line(struct reader *r)
{
	r->list_count = 0;
	r->mop_count = 0;
	if (r->line == 1)
		return strcmp(r->p, HEADER) == 0 ? 0 : bad(r, "the first line is " HEADER);
	if (*r->p == '\0' || *r->p == '#')
		return 0;
	if (skip(r, "i"))
		return get_invoke(r);
	if (skip(r, "r"))
		return get_return(r);
	if (skip(r, "bank"))
		return get_bank(r);
	return bad(r, "a line begins with i, r, bank or #");
}

int history_read(struct history *h, FILE *f, struct msg *m)
{
	struct reader r = {.h = h, .m = m};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int code = 0;

	while (code == 0 && (n = getline(&line, &cap, f)) > 0) {
		if (line[n - 1] != '\n')
			break; /* its writer was killed */
		line[n - 1] = '\0';
		r.line++;
		r.p = line;
		code = strlen(line) == (size_t)n - 1 ? get_line(&r) : bad(&r, "a NUL byte");
	}
	if (code == 0 && ferror(f))
		code = msg_set(m, ERR_IO, "line %lu: cannot be read", r.line + 1);
	else if (code == 0 && r.line == 0)
		code = bad(&r, "the first line is " HEADER);
	free(line);
	mem_free(r.index);
	mem_free(r.list);
	mem_free(r.mops);
	return code;
}
