/* The records of the transaction state machine as a store hands them out when a replica starts
 * (txn/tsm_load.c): T, Q, R tables and clock. tsm_open refuses them as damage, or gives a machine.
 * (That what it did itself is read back is for tsm_fuzz.) An input: a count of records; each has a
 * byte that says which table it is of and whether key (bit 6) and value (bit 7) are well-shaped,
 * then key and value. */
#include "base/bytes.h"
#include "tests/fuzz/fuzz_txn.h"
#include "tests/lib/txn_store_mem.h"

#define RECORDS_MAX 64u

/* The shape that tables have: kind and id, kind and number, or a place. */
static void make_key(struct fuzz_in *in, uint8_t how, struct buf *key)
{
	static const char kinds[] = "RMXCP";
	char kind = kinds[fuzz_below(in, 5)];

	if ((how & 7) == TXN_TABLE_QUEUE) {
		buf_add_be64(key, fuzz_u8(in));
		buf_add_be32(key, fuzz_u8(in) & 7);
		return;
	}
	buf_add_u8(key, (uint8_t)kind);
	buf_add_be64(key, fuzz_u8(in) & 3);
	if (kind != 'M' && kind != 'X')
		buf_add_be64(key, fuzz_u8(in) & 7);
}

static void make_value(struct fuzz_in *in, struct buf *value)
{
	struct buf command = BUF_INIT;
	uint8_t how = fuzz_u8(in);

	if (how & 1) { /* the head of a T record */
		enc_u64(value, how >> 1 & 3);
		enc_u64(value, how >> 3);
	}
	fuzz_txn_command(in, &command);
	if (how & 1)
		enc_bytes(value, buf_slice(&command));
	else
		buf_add_slice(value, buf_slice(&command));
	buf_release(&command);
}

static void put_record(struct fuzz_in *in, struct txn_store *s)
{
	uint8_t how = fuzz_u8(in);
	enum txn_table table = (enum txn_table)((how & 7) % (TXN_TABLE_STATE + 1));
	struct buf key = BUF_INIT, value = BUF_INIT;

	if (how & 0x40)
		make_key(in, (uint8_t)table, &key);
	else
		buf_add_slice(&key, fuzz_bytes(in, fuzz_u8(in)));
	if (how & 0x80)
		make_value(in, &value);
	else
		buf_add_slice(&value, fuzz_item(in));
	if (key.len > 0 && key.len <= KEY_SIZE_MAX)
		s->put(s, table, buf_slice(&key), buf_slice(&value));
	buf_release(&key);
	buf_release(&value);
}

static void line(void *ctx, const char *text)
{
	*(size_t *)ctx += strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	struct txn_mem *mem = txn_mem_new();
	struct tsm_config cfg;
	struct tsm *t = NULL;
	uint8_t records = fuzz_u8(&in) % RECORDS_MAX;
	size_t described = 0;
	int err;

	tsm_config_default(&cfg);
	cfg.store = txn_mem_store(mem);
	txn_mem_set_owner(mem, fuzz_txn_owns, NULL);
	txn_mem_begin(mem);
	for (unsigned i = 0; i < records && in.left.len > 0; i++)
		put_record(&in, cfg.store);
	txn_mem_commit(mem);
	err = tsm_open(&cfg, &t);
	CHECK(err == 0 || err == ERR_CORRUPT);
	if (!err) {
		tsm_set_leading(t, true, 1000);
		tsm_describe(t, line, &described);
		tsm_close(t);
	}
	txn_mem_free(mem);
	return 0;
}
