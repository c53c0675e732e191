#include "txn/reply_codec.h"

#include "base/check.h"
#include "base/err.h"

/* Every status fits; a reply from elsewhere cannot carry a positive one. */
#define STATUS_MIN (-4096)

bool txn__reply_names_item(int status)
{
	return status == ERR_CONDITION || status == ERR_ABSENT_RECORD || status == ERR_BAD_FIELD ||
	       status == ERR_TOO_BIG;
}

static void enc_status(struct buf *b, int status)
{
	CHECK(status <= 0 && status > STATUS_MIN);
	enc_u64(b, (uint64_t)-status);
}

static int dec_status(struct dec *d)
{
	return -(int)dec_u64_max(d, -STATUS_MIN - 1);
}

void txn__reply_value(struct buf *b, const struct reply_value *v)
{
	enc_status(b, v->status);
	enc_u64(b, v->version);
	enc_bytes(b, v->value);
}

static void dec_value(struct dec *d, struct reply_value *v)
{
	v->status = dec_status(d);
	v->version = dec_u64(d);
	v->value = dec_bytes(d, FRAME_SIZE_MAX);
}

void txn__reply_head(struct buf *b, const struct reply_head *h)
{
	enc_status(b, h->status);
	if (h->status == 0)
		enc_u64(b, h->stamp);
	if (txn__reply_names_item(h->status)) {
		enc_u64(b, h->failed);
		txn__reply_value(b, &h->current);
	}
}

int txn__reply_decode_head(struct slice reply, struct reply_head *h, struct slice *items)
{
	struct dec d;

	*h = (struct reply_head){0};
	dec_init(&d, reply);
	h->status = dec_status(&d);
	if (h->status == 0)
		h->stamp = dec_u64(&d);
	if (txn__reply_names_item(h->status)) {
		h->failed = dec_u32(&d);
		dec_value(&d, &h->current);
	}
	*items = dec_rest(&d);
	return d.err ? ERR_PROTO : 0;
}
