#include "kv/wire.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

/* ---- envelope and group request: a head of scalars, then the body's bytes as they are ---- */

void kv_envelope_head(struct buf *out, int err, uint32_t leader, uint64_t map_version,
		      size_t body_len)
{
	enc_i64(out, err);
	enc_u64(out, leader);
	enc_u64(out, map_version);
	enc_u64(out, body_len);
}

void kv_envelope_encode(struct buf *out, int err, uint32_t leader, uint64_t map_version,
			struct slice body)
{
	kv_envelope_head(out, err, leader, map_version, body.len);
	buf_add_slice(out, body);
}

/* The rest of the input, which must be exactly as long as the head said. */
static int decode_rest(struct dec *d, struct slice *rest)
{
	uint64_t len = dec_u64(d);

	if (d->err)
		return d->err;
	*rest = dec_rest(d);
	return rest->len == len ? 0 : ERR_PROTO;
}

int kv_envelope_decode(struct slice in, struct kv_envelope *out)
{
	struct kv_envelope e;
	struct dec d;
	int64_t code;
	int err;

	dec_init(&d, in);
	code = dec_i64(&d);
	e.leader = (uint32_t)dec_u64_max(&d, NODES_MAX - 1);
	e.map_version = dec_u64(&d);
	err = decode_rest(&d, &e.body);
	if (err)
		return err;
	if (code > 0 || code < -10000)
		return ERR_PROTO;
	e.err = (int)code;
	*out = e;
	return 0;
}

void kv_group_request_head(struct buf *out, uint32_t group, size_t body_len)
{
	enc_u64(out, group);
	enc_u64(out, body_len);
}

void kv_group_request_encode(struct buf *out, uint32_t group, struct slice body)
{
	kv_group_request_head(out, group, body.len);
	buf_add_slice(out, body);
}

int kv_group_request_decode(struct slice in, struct kv_group_request *out)
{
	struct kv_group_request q;
	struct dec d;
	int err;

	dec_init(&d, in);
	q.group = (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1);
	err = decode_rest(&d, &q.body);
	if (err)
		return err;
	*out = q;
	return 0;
}

/* ---- watching ---- */

void kv_watch_request_encode(struct buf *out, const struct kv_watch_request *q)
{
	enc_u64(out, q->version);
	enc_u64(out, q->wait_ns);
	enc_bytes(out, q->key);
}

int kv_watch_request_decode(struct slice in, struct kv_watch_request *out)
{
	struct kv_watch_request q;
	struct dec d;

	dec_init(&d, in);
	q.version = dec_u64(&d);
	q.wait_ns = dec_u64(&d);
	q.key = dec_bytes(&d, KEY_SIZE_MAX);
	if (dec_end(&d) != 0 || q.key.len == 0)
		return ERR_PROTO;
	*out = q;
	return 0;
}

void kv_watch_reply_encode(struct buf *out, uint64_t version)
{
	enc_u64(out, version);
}

int kv_watch_reply_decode(struct slice in, uint64_t *version)
{
	struct dec d;
	uint64_t v;
	int err;

	dec_init(&d, in);
	v = dec_u64(&d);
	err = dec_end(&d);
	if (!err)
		*version = v;
	return err;
}

/* ---- status ---- */

static void encode_group(struct buf *out, const struct kv_group_status *g)
{
	enc_u64(out, g->group);
	enc_u64(out, g->leader);
	enc_u64(out, g->role);
	enc_bool(out, g->serving);
	enc_u64(out, g->ballot);
	enc_u64(out, g->commit);
	enc_u64(out, g->applied);
	enc_u64(out, g->last);
	enc_u64(out, g->log_start);
	enc_u64(out, g->epoch);
	enc_u64(out, g->keys);
	enc_u64(out, g->bytes);
	enc_u64(out, g->prepared);
	enc_u64(out, g->waiting);
	enc_u64(out, g->locks);
	enc_u64(out, g->commands);
	enc_u64(out, g->conflicts);
	enc_u64(out, g->deadlocks);
	enc_u64(out, g->member_count);
	for (uint32_t i = 0; i < g->member_count; i++) {
		enc_u64(out, g->members[i]);
		enc_u64(out, g->member_accepted[i]);
		enc_u64(out, g->member_silent_ns[i]);
	}
	enc_str(out, g->note);
}

static void decode_text(struct dec *d, char *out, size_t size)
{
	struct slice s = dec_bytes(d, size - 1);

	if (s.len)
		memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	if (strlen(out) != s.len)
		dec_fail(d);
}

static void decode_group(struct dec *d, struct kv_group_status *g)
{
	g->group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	g->leader = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
	g->role = dec_u8(d);
	g->serving = dec_bool(d);
	g->ballot = dec_u64(d);
	g->commit = dec_u64(d);
	g->applied = dec_u64(d);
	g->last = dec_u64(d);
	g->log_start = dec_u64(d);
	g->epoch = dec_u64(d);
	g->keys = dec_u64(d);
	g->bytes = dec_u64(d);
	g->prepared = dec_u64(d);
	g->waiting = dec_u64(d);
	g->locks = dec_u64(d);
	g->commands = dec_u64(d);
	g->conflicts = dec_u64(d);
	g->deadlocks = dec_u64(d);
	g->member_count = dec_count(d, KV_STATUS_MEMBERS_MAX);
	for (uint32_t i = 0; i < g->member_count; i++) {
		g->members[i] = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
		g->member_accepted[i] = dec_u64(d);
		g->member_silent_ns[i] = dec_u64(d);
	}
	decode_text(d, g->note, sizeof(g->note));
}

static void encode_figures(struct buf *out, const struct kv_node_status *s)
{
	enc_u64(out, s->pid);
	enc_u64(out, s->uptime_ns);
	enc_u64(out, s->rss_bytes);
	enc_u64(out, s->wal_bytes);
	enc_u64(out, s->engine_disk_bytes);
	enc_u64(out, s->engine_memory_bytes);
	enc_u64(out, s->sync_ns_last);
	enc_u64(out, s->sync_ns_max);
	enc_u64(out, s->frames_in);
	enc_u64(out, s->frames_out);
	enc_u64(out, s->bytes_in);
	enc_u64(out, s->bytes_out);
	enc_u64(out, s->bad_frames);
	enc_u64(out, s->disk_id);
	enc_u64(out, s->disk_total);
	enc_u64(out, s->disk_free);
}

static void decode_figures(struct dec *d, struct kv_node_status *s)
{
	s->pid = dec_u64(d);
	s->uptime_ns = dec_u64(d);
	s->rss_bytes = dec_u64(d);
	s->wal_bytes = dec_u64(d);
	s->engine_disk_bytes = dec_u64(d);
	s->engine_memory_bytes = dec_u64(d);
	s->sync_ns_last = dec_u64(d);
	s->sync_ns_max = dec_u64(d);
	s->frames_in = dec_u64(d);
	s->frames_out = dec_u64(d);
	s->bytes_in = dec_u64(d);
	s->bytes_out = dec_u64(d);
	s->bad_frames = dec_u64(d);
	s->disk_id = dec_u64(d);
	s->disk_total = dec_u64(d);
	s->disk_free = dec_u64(d);
}

void kv_node_status_encode(struct buf *out, const struct kv_node_status *s)
{
	enc_u64(out, s->node);
	enc_str(out, s->address);
	enc_str(out, s->version);
	encode_figures(out, s);
	enc_u64(out, s->group_count);
	for (uint32_t i = 0; i < s->group_count; i++)
		encode_group(out, &s->groups[i]);
}

int kv_node_status_decode(struct slice in, struct kv_node_status *out)
{
	struct kv_node_status s = {0};
	struct dec d;
	int err;

	dec_init(&d, in);
	s.node = (uint32_t)dec_u64_max(&d, NODES_MAX - 1);
	decode_text(&d, s.address, sizeof(s.address));
	decode_text(&d, s.version, sizeof(s.version));
	decode_figures(&d, &s);
	s.group_count = dec_count(&d, GROUPS_MAX);
	if (d.err)
		return d.err;
	if (s.group_count) {
		s.groups = mem_try_alloc(sizeof(*s.groups) * s.group_count);
		if (!s.groups)
			return ERR_NOMEM;
		memset(s.groups, 0, sizeof(*s.groups) * s.group_count);
	}
	for (uint32_t i = 0; i < s.group_count && !d.err; i++)
		decode_group(&d, &s.groups[i]);
	err = dec_end(&d);
	if (err) {
		kv_node_status_release(&s);
		return err;
	}
	*out = s;
	return 0;
}

void kv_node_status_release(struct kv_node_status *s)
{
	mem_free(s->groups);
	s->groups = NULL;
	s->group_count = 0;
}
