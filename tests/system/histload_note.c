/* What histload's workloads share: keys, values, and notes in the history. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/system/histload.h"

uint64_t load_now(struct load *l)
{
	return env_mono_ns(loop_env(l->s->loop));
}

uint64_t load_dice(struct load *l)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return l->seed * 2685821657736338717ull >> 8;
}

uint64_t load_epoch(struct load *l)
{
	return load_now(l) / EPOCH_NS;
}

uint64_t load_value(struct load *l)
{
	return (uint64_t)(l->number + 1) << 40 | ++l->values;
}

/* place | number (its top bits are the place again) | 'K' | k */
struct slice load_key(const struct load *l, enum family f, uint64_t k, uint8_t out[LOAD_KEY_SIZE])
{
	uint64_t place = (k * 8 + f) * 2654435761u % 0x8000u;

	be16_put(out, (uint16_t)place);
	be64_put(out + 2, place << 48 | 0xbd0000000000ull | l->space << 8 | f);
	out[10] = 'K';
	be64_put(out + 11, k);
	return slice_of(out, LOAD_KEY_SIZE);
}

static uint32_t client_of(const struct worker *w)
{
	return w->load->number * 10000000u + w->number * 100000u + w->generation;
}

void op_begin(struct worker *w, const struct history_op *op)
{
	struct load *l = w->load;
	struct history_op noted = *op;

	noted.client = client_of(w);
	w->kind = op->kind;
	w->busy = true;
	w->busy_since_ns = load_now(l);
	if (history_stream_invoke(&l->stream, w->busy_since_ns, &noted, &w->id) != 0)
		l->broken = true;
}

static enum history_outcome outcome_of(int err, bool reads)
{
	switch (err) {
	case 0: return HISTORY_OK;
	case ERR_CONDITION:
	case ERR_NOSPACE:
	case ERR_ABORTED:
	case ERR_DEADLOCK:
	case ERR_ABSENT_RECORD:
	case ERR_TOO_BIG: return HISTORY_FAILED;
	default: return reads ? HISTORY_FAILED : HISTORY_UNKNOWN;
	}
}

void op_end(struct worker *w, int err, bool reads, const struct history_result *res)
{
	struct load *l = w->load;
	uint64_t now = load_now(l);
	enum history_outcome o = outcome_of(err, reads);

	if (now - w->busy_since_ns > l->longest_ns)
		l->longest_ns = now - w->busy_since_ns;
	w->busy = false;
	l->ok += o == HISTORY_OK;
	l->failed += o == HISTORY_FAILED;
	l->unknown += o == HISTORY_UNKNOWN;
	if (o != HISTORY_OK)
		l->last_error = err;
	w->generation += o == HISTORY_UNKNOWN;
	if (err == ERR_SESSION || err == ERR_INVAL || err == ERR_CORRUPT || err == ERR_BAD_FIELD ||
	    err == ERR_ABSENT_RECORD || err == ERR_FORGOTTEN) {
		cli_error(CLI_FAILED, "an answer that must not be: %s", err_text(err));
		l->broken = true;
	}
	if (history_stream_return(&l->stream, w->id, now, w->kind, o,
				  o == HISTORY_OK ? res : NULL) != 0)
		l->broken = true;
}
