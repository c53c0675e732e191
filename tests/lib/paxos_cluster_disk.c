/* Disks of the cluster: records, of which a crash loses those that were not synced. */
#include "tests/lib/paxos_cluster_internal.h"

#include <string.h>

static void disk_room(struct disk *d, uint64_t slot)
{
	size_t old = d->slots;

	if (slot < old)
		return;
	d->slots = (size_t)slot * 2 + 64;
	d->appended = mem_must_realloc(d->appended, d->slots * sizeof(*d->appended));
	d->stored = mem_must_realloc(d->stored, d->slots * sizeof(*d->stored));
	memset(d->appended + old, 0, (d->slots - old) * sizeof(*d->appended));
	memset(d->stored + old, 0, (d->slots - old) * sizeof(*d->stored));
}

void cluster__disk_append(struct disk *d, struct record r)
{
	if (d->count == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 64;
		d->records = mem_must_realloc(d->records, d->cap * sizeof(*d->records));
	}
	d->records[d->count++] = r;
	if (r.entry) {
		disk_room(d, r.entry->slot);
		d->appended[r.entry->slot] = r.entry;
	}
}

void cluster__disk_stored(struct disk *d, const struct record *r)
{
	switch (r->kind) {
	case PROMISE:
		d->promise = r->number > d->promise ? r->number : d->promise;
		return;
	case MARK:
		d->mark = r->number > d->mark ? r->number : d->mark;
		return;
	case ENTRY:
		d->stored[r->entry->slot] = r->entry;
		while (d->whole + 1 < d->slots && d->stored[d->whole + 1])
			d->whole++;
		return;
	}
}

void cluster__disk_kick(struct paxos_cluster *c, uint32_t i)
{
	struct node *n = &c->nodes[i];
	struct disk *d = &n->disk;

	if (d->syncing || d->synced == d->count)
		return;
	d->syncing = true;
	cluster__push(c, (struct event){.at = c->now + cluster__in_range(c, d->delay),
					.kind = SYNCED,
					.node = i,
					.life = n->life,
					.arg = d->count,
					.seq = d->seq});
}

/* What a power cut leaves: all that was synced, and some of what was not. */
void cluster__disk_crash(struct paxos_cluster *c, struct node *n)
{
	struct disk *d = &n->disk;
	size_t keep = d->synced + (size_t)cluster_random(c, d->count - d->synced + 1);

	for (size_t i = keep; i < d->count; i++)
		paxos_entry_unref(d->records[i].entry);
	d->count = d->synced = keep;
	d->syncing = false;
	if (d->slots) {
		memset(d->appended, 0, d->slots * sizeof(*d->appended));
		memset(d->stored, 0, d->slots * sizeof(*d->stored));
	}
	d->promise = 0;
	d->mark = 0;
	d->whole = n->durable;
	for (size_t i = 0; i < keep; i++) {
		if (d->records[i].entry)
			d->appended[d->records[i].entry->slot] = d->records[i].entry;
		cluster__disk_stored(d, &d->records[i]);
	}
}

void cluster__disk_release(struct disk *d)
{
	for (size_t i = 0; i < d->count; i++)
		paxos_entry_unref(d->records[i].entry);
	mem_free(d->records);
	mem_free(d->appended);
	mem_free(d->stored);
}

int cluster__read_entry(void *ctx, uint64_t slot, struct paxos_entry **out)
{
	const struct disk *d = ctx;

	if (slot >= d->slots || slot < d->mark || !d->appended[slot])
		return ERR_NOT_FOUND;
	*out = paxos_entry_ref(d->appended[slot]);
	return 0;
}
